# ruff: noqa: INP001, T201  a script that stands alone and talks on standard output
"""Makes an authority and certificates for trying things out: `python make_certificates.py [FOLDER]`.

Run it again to renew: the authority stays, everything else is made anew. Nothing of this is for production: the key of
the authority lies beside what it signed.
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

# File -> names in the certificate.
CERTIFICATES = {
    "www": ["www.example.org", "localhost"],
    "wildcard": ["*.apps.example.org"],
    "targets": ["targets.internal"],
    "balancer": ["balancer.internal"],
    "client": ["client.internal"],
}
LIFETIME = timedelta(days=90)

Key = ec.EllipticCurvePrivateKey


def main(folder: Path) -> None:
    """Make what is missing of the authority, and all certificates."""
    folder.mkdir(exist_ok=True)
    ca_key, ca = authority(folder)
    for file, names in CERTIFICATES.items():
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            builder(names[0], ca.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
            .sign(ca_key, SHA256())
        )
        write(folder, file, key, certificate)
    print(f"{folder}: ca.pem and certificates {', '.join(CERTIFICATES)}")


def authority(folder: Path) -> tuple[Key, x509.Certificate]:
    """The authority that is there, or a new one."""
    if (folder / "ca.pem").exists():
        key = load_pem_private_key((folder / "ca.key").read_bytes(), None)
        if not isinstance(key, Key):
            raise SystemExit(f"{folder}/ca.key is no key of this script")
        return key, x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        builder("Example CA", name("Example CA"), key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    write(folder, "ca", key, certificate)
    return key, certificate


def builder(subject: str, issuer: x509.Name, key: Key) -> x509.CertificateBuilder:
    """A certificate without its extensions."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def name(text: str) -> x509.Name:
    """A subject of one common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def write(folder: Path, file: str, key: Key, certificate: x509.Certificate) -> None:
    """Put certificate and key in place, each whole: a balancer that runs takes them up within seconds."""
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for suffix, content, mode in (("key", secret, 0o600), ("pem", certificate.public_bytes(Encoding.PEM), 0o644)):
        draft = folder / f".{file}.{suffix}"
        draft.touch(mode)
        draft.write_bytes(content)
        draft.replace(folder / f"{file}.{suffix}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "certificates"))

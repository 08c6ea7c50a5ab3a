"""The certificate of the rows that speak TLS: made anew for each run.

Owns: the key, and the files in the forms that the balancers ask for.
Refuses to know: who speaks TLS.
"""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID = dt.timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """Its files, all PEM."""

    certificate: Path
    key: Path
    both: Path


def make(folder: Path) -> Certificate:
    """Make one for this machine, signed by itself, with the kind of key that most sites have: P-256."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example.com")])
    names: list[x509.GeneralName] = [
        x509.DNSName("shop.example.com"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    now = dt.datetime.now(tz=dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - VALID)
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    public = signed.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    found = Certificate(folder / "certificate.pem", folder / "key.pem", folder / "both.pem")
    for path, content in ((found.certificate, public), (found.key, private), (found.both, public + private)):
        path.touch(mode=0o600)
        path.write_bytes(content)
    return found

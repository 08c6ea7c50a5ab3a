"""Certificate authorities for tests, made in milliseconds and trusted by nobody else.

Owns: authorities, and certificates good and bad in every way that tests need.
Refuses to know: what they are used for.
"""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

# A day before and after the test, in days from now: in its time; over; still to come.
VALID = (-1, 30)
EXPIRED = (-30, -1)
FUTURE = (1, 30)


def make_key(kind: str = "ec") -> Key:
    """A key that OpenSSL takes: "ec" or "rsa", or the number of bits of a small "rsa" one, such as "rsa-1024"."""
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, int(kind.partition("-")[2] or 2048))


def pem(key: Key, passphrase: str = "") -> bytes:
    """A key as a file has it."""
    secret: KeySerializationEncryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret)


@dataclass(frozen=True)
class Pair:
    """A certificate with what stands behind it, and its key, in PEM."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path, name: str) -> "Pair":
        """Puts them into `NAME.pem` and `NAME.key`."""
        (folder / f"{name}.pem").write_bytes(self.certificate)
        (folder / f"{name}.key").write_bytes(self.key)
        return self


class Authority:
    """Signs certificates."""

    def __init__(self, name: str = "Test CA", days: tuple[int, int] = VALID) -> None:
        self._key = make_key()
        self._name = _name(name)
        self._made = self._sign(self._name, self._key, days, [x509.BasicConstraints(ca=True, path_length=None)])
        self.pem = self._made.public_bytes(Encoding.PEM)

    def issue(self, *names: str, days: tuple[int, int] = VALID, kind: str = "ec", common_name: str = "") -> Pair:
        """A certificate for these DNS names and addresses; one without any has a common name only."""
        key = make_key(kind)
        found = [_alternative(name) for name in names]
        extensions: list[x509.ExtensionType] = [x509.BasicConstraints(ca=False, path_length=None)]
        if found:
            extensions.append(x509.SubjectAlternativeName(found))
        made = self._sign(_name(common_name or (names[0] if names else "nobody")), key, days, extensions)
        return Pair(made.public_bytes(Encoding.PEM), pem(key))

    def write(self, folder: Path, name: str = "ca") -> "Authority":
        """Puts its own certificate into `NAME.pem`."""
        (folder / f"{name}.pem").write_bytes(self.pem)
        return self

    def _sign(
        self, subject: x509.Name, key: Key, days: tuple[int, int], extensions: list[x509.ExtensionType]
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        # Python 3.13 and later ask for both (RFC 5280 4.2.1).
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        return builder.sign(self._key, SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)

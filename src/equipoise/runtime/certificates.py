"""What a file of certificates or a key says.

Owns: the reading of PEM, which names a certificate is for, whether a key belongs to it, whether it is in its time.
Refuses to know: where the file is, who shows or checks the certificate.

Texts of errors are for the user and hold nothing of a key.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

_KEY_MARK: Final = b"PRIVATE KEY-----"


class CertificateError(Exception):
    """A file that does not hold what it should; the text begins with a verb."""


def read_chain(content: bytes) -> list[x509.Certificate]:
    """The certificates in a file, in its order; at least one.

    Raises:
        CertificateError: there is none, or one cannot be read.
    """
    try:
        return x509.load_pem_x509_certificates(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError("holds no certificate in PEM, or one that is damaged") from error


def read_key(content: bytes) -> PrivateKeyTypes:
    """The private key in a file.

    Raises:
        CertificateError: there is none, it cannot be read, or it has a passphrase.
    """
    if _KEY_MARK not in content:
        raise CertificateError("holds no private key in PEM")
    try:
        return load_pem_private_key(content, None)
    except TypeError as error:
        raise CertificateError("holds a key with a passphrase; nobody is there to enter it") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError("holds a private key that is damaged or of an unknown kind") from error


def check_key(content: bytes, chain: Sequence[x509.Certificate]) -> None:
    """Make sure that a file holds the key of the first certificate of a chain.

    Raises:
        CertificateError: as `read_key`; or it is the key of another one.
    """
    public = _public(read_key(content).public_key())
    owners = [_public(certificate.public_key()) == public for certificate in chain]
    if not any(owners):
        raise CertificateError("holds a key that does not belong to the certificate")
    if not owners[0]:
        raise CertificateError("holds the key of a certificate behind the first one; the own one must come first")


def kind_of(certificate: x509.Certificate) -> str:
    """The type of the certificate's key, as one word."""
    return type(certificate.public_key()).__name__.removesuffix("PublicKey").lower()


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names that it is for, in lower case. The common name is none (RFC 9525 2)."""
    found = _alternative_names(certificate)
    return tuple(dict.fromkeys(name.lower() for name in found.get_values_for_type(x509.DNSName))) if found else ()


def is_for_nobody(certificate: x509.Certificate) -> bool:
    """Whether it has neither a DNS name nor an address, so that no client of today takes it."""
    found = _alternative_names(certificate)
    return not found or not (found.get_values_for_type(x509.DNSName) or found.get_values_for_type(x509.IPAddress))


def untimely(certificates: Sequence[x509.Certificate], now: datetime) -> str | None:
    """Which of the certificates has expired or is not valid yet; None when all are in their time."""
    for certificate in certificates:
        if certificate.not_valid_after_utc < now:
            return f"{_called(certificate)} expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        if certificate.not_valid_before_utc > now:
            return f"{_called(certificate)} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    return None


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return None


def _called(certificate: x509.Certificate) -> str:
    return f'the certificate "{certificate.subject.rfc4514_string()}"'


def _public(key: object) -> bytes:
    try:
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined,no-any-return]  # all kinds of keys have it, and no type in common
    except (AttributeError, ValueError) as error:
        raise CertificateError("holds a key of an unknown kind") from error

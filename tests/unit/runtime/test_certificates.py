"""What files of certificates and keys say."""

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from equipoise.runtime.certificates import (
    CertificateError,
    check_key,
    is_for_nobody,
    kind_of,
    names_of,
    read_chain,
    read_key,
    untimely,
)
from tests.support.certificates import EXPIRED, FUTURE, Authority, Pair, make_key, pem

CA = Authority()


@pytest.fixture(scope="module")
def pair() -> Pair:
    return CA.issue("a.example")


def test_a_chain_is_read_in_its_order(pair: Pair) -> None:
    chain = read_chain(pair.certificate + CA.pem)
    assert [certificate.subject.rfc4514_string() for certificate in chain] == ["CN=a.example", "CN=Test CA"]


@pytest.mark.parametrize(
    "content",
    [b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", pem(make_key())],
    ids=["empty", "text", "damaged", "a key"],
)
def test_a_file_without_a_certificate_is_told_so(content: bytes) -> None:
    with pytest.raises(CertificateError, match="holds no certificate in PEM, or one that is damaged"):
        read_chain(content)


def test_a_key_belongs_to_its_certificate(pair: Pair) -> None:
    check_key(pair.key, read_chain(pair.certificate))


def test_a_file_may_hold_both_certificate_and_key(pair: Pair) -> None:
    check_key(pair.certificate + pair.key, read_chain(pair.certificate + pair.key))


def test_another_key_does_not_fit(pair: Pair) -> None:
    with pytest.raises(CertificateError, match="does not belong to the certificate"):
        check_key(pem(make_key()), read_chain(pair.certificate))


def test_a_chain_in_the_wrong_order_is_told_so(pair: Pair) -> None:
    with pytest.raises(CertificateError, match="the own one must come first"):
        check_key(pair.key, read_chain(CA.pem + pair.certificate))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nothing", "holds no private key in PEM"),
        (CA.pem, "holds no private key in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "damaged or of an unknown kind"),
        (pem(make_key(), "secret"), "with a passphrase"),
    ],
    ids=["text", "a certificate", "damaged", "passphrase"],
)
def test_a_file_without_a_usable_key_is_told_so(content: bytes, message: str) -> None:
    with pytest.raises(CertificateError, match=message):
        read_key(content)


def test_an_ed25519_key_is_read() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    read_key(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def test_names_are_in_lower_case_and_addresses_are_none() -> None:
    chain = read_chain(CA.issue("A.Example", "*.b.example", "10.0.0.1", "a.example").certificate)
    assert names_of(chain[0]) == ("a.example", "*.b.example")


def test_the_common_name_is_no_name() -> None:
    chain = read_chain(CA.issue(common_name="a.example").certificate)
    assert (names_of(chain[0]), is_for_nobody(chain[0])) == ((), True)


def test_a_certificate_for_an_address_is_for_somebody() -> None:
    assert not is_for_nobody(read_chain(CA.issue("10.0.0.1").certificate)[0])


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_the_kind_is_that_of_the_key(kind: str) -> None:
    assert kind_of(read_chain(CA.issue("a", kind=kind).certificate)[0]) == kind


@pytest.mark.parametrize(("days", "words"), [(EXPIRED, "expired on"), (FUTURE, "is not valid before")])
def test_a_certificate_out_of_its_time_is_named(days: tuple[int, int], words: str) -> None:
    chain = read_chain(CA.pem + CA.issue("a.example", days=days).certificate)
    found = untimely(chain, datetime.now(UTC))
    assert found is not None
    assert found.startswith(f'the certificate "CN=a.example" {words} ')


def test_certificates_in_their_time_are_passed_over(pair: Pair) -> None:
    assert untimely(read_chain(pair.certificate + CA.pem), datetime.now(UTC)) is None

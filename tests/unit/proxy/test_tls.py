"""Contexts, proved by handshakes in memory against plain ones of Python."""

import ssl
from collections.abc import Callable
from hashlib import sha256

import pytest
from msgspec.structs import replace

from equipoise.model import CertificateSpec, ListenerTlsSpec, PoolSpec, TargetSpec, TargetTlsSpec, TlsFile, World
from equipoise.proxy.tls import Contexts, Greeting, handshake_problem
from tests.support.certificates import EXPIRED, Authority, Pair

CA = Authority()
OTHER = Authority("Other CA")


class Files:
    """What a world has of files."""

    def __init__(self) -> None:
        self.files: dict[str, TlsFile] = {}

    def add(self, content: bytes) -> str:
        digest = sha256(content).hexdigest()
        self.files[digest] = TlsFile(digest, content)
        return digest

    def pair(self, pair: Pair, *names: str, kind: str = "ec") -> CertificateSpec:
        return CertificateSpec(self.add(pair.certificate), self.add(pair.key), names, kind)

    def issue(self, *names: str, kind: str = "ec") -> CertificateSpec:
        return self.pair(CA.issue(*names, kind=kind), *names, kind=kind)

    def contexts(self, *targets: TargetTlsSpec) -> Contexts:
        made = Contexts()
        made.take(self.world(*targets))
        return made

    def world(self, *targets: TargetTlsSpec) -> World:
        specs = tuple(
            TargetSpec(str(n), "https://a", "a", 443, n, scheme="https", tls=t) for n, t in enumerate(targets)
        )
        return World(pools=(PoolSpec("p", 9, targets=specs),), files=tuple(self.files.values()))

    def greeting(self, spec: ListenerTlsSpec) -> ssl.SSLContext:
        return Greeting(spec, self.contexts().identities(spec)).context


@pytest.fixture
def files() -> Files:
    return Files()


def client(*, trusts: Authority = CA) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=trusts.pem.decode())
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def shake(inside: ssl.SSLContext, outside: ssl.SSLContext, name: str | None = "a.example") -> ssl.SSLObject:
    """A handshake between a listener's context and a client's; the client's side of it.

    Raises:
        ssl.SSLError: one of them refused, the first that did.
    """
    one, two = ssl.MemoryBIO(), ssl.MemoryBIO()
    listener = inside.wrap_bio(one, two, server_side=True)
    asking = outside.wrap_bio(two, one, server_hostname=name)
    left: list[Callable[[], None]] = [asking.do_handshake, listener.do_handshake]
    for _ in range(10):
        for step in list(left):
            try:
                step()
                left.remove(step)
            except ssl.SSLWantReadError:
                continue
    assert left == []
    return asking


def name_shown(inside: ssl.SSLContext, name: str | None, outside: ssl.SSLContext | None = None) -> str:
    """The first name of the certificate that a client gets which asks for `name`."""
    context = outside or client()
    context.check_hostname = False
    found = shake(inside, context, name).getpeercert()
    assert found
    return str(found["subjectAltName"][0][1])


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("a.example", "a.example"),
        ("A.EXAMPLE", "a.example"),
        ("b.example", "b.example"),
        ("x.wild.example", "*.wild.example"),
        ("exact.wild.example", "exact.wild.example"),
        ("wild.example", "a.example"),
        ("x.y.wild.example", "a.example"),
        ("unknown.example", "a.example"),
        ("127.0.0.1", "a.example"),
        (None, "a.example"),
    ],
)
def test_the_name_that_is_asked_for_chooses_the_certificate(files: Files, asked: str | None, shown: str) -> None:
    names = ["a.example", "*.wild.example", "exact.wild.example", "b.example"]
    spec = ListenerTlsSpec(tuple(files.issue(name) for name in names))
    assert name_shown(files.greeting(spec), asked) == shown


def test_of_two_certificates_for_one_name_the_first_is_shown(files: Files) -> None:
    spec = ListenerTlsSpec((files.issue("a.example", "b.example"), files.issue("b.example", "c.example")))
    assert name_shown(files.greeting(spec), "b.example") == "a.example"


@pytest.mark.parametrize(
    ("cipher", "key"), [("ECDHE-RSA-AES128-GCM-SHA256", "rsa"), ("ECDHE-ECDSA-AES128-GCM-SHA256", "ec")]
)
def test_certificates_of_two_kinds_for_the_same_names_serve_both_kinds_of_clients(
    files: Files, cipher: str, key: str
) -> None:
    spec = ListenerTlsSpec((files.issue("a.example", kind="ec"), files.issue("a.example", kind="rsa")))
    outside = client()
    outside.maximum_version = ssl.TLSVersion.TLSv1_2
    outside.set_ciphers(cipher)
    assert shake(files.greeting(spec), outside).cipher() == (cipher, "TLSv1.2", 128), key


@pytest.mark.parametrize(("http2", "chosen"), [(True, "h2"), (False, "http/1.1")])
def test_http2_is_offered_unless_it_is_switched_off(files: Files, http2: bool, chosen: str) -> None:
    spec = ListenerTlsSpec((files.issue("a.example"), files.issue("b.example")), http2=http2)
    found = [
        shake(files.greeting(spec), client(), name).selected_alpn_protocol() for name in ("a.example", "b.example")
    ]
    assert found == [chosen, chosen]


def test_an_older_version_than_the_oldest_is_refused(files: Files) -> None:
    spec = ListenerTlsSpec((files.issue("a.example"),), min_version="1.3")
    outside = client()
    outside.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol|version"):
        shake(files.greeting(spec), outside)


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0", "ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0"])
def test_ciphers_without_authenticated_encryption_are_refused(files: Files, cipher: str) -> None:
    outside = client()
    outside.maximum_version = ssl.TLSVersion.TLSv1_2
    outside.set_ciphers(cipher)
    with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
        shake(files.greeting(ListenerTlsSpec((files.issue("a.example"),))), outside)


# Client certificates


def asking_for_clients(files: Files, how: str) -> ssl.SSLContext:
    certificates = (files.issue("a.example"), files.issue("b.example"))
    return files.greeting(ListenerTlsSpec(certificates, client_ca=files.add(CA.pem), client_certificates=how))


def showing(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder = tmp_path_factory.mktemp("client")
    pair.write(folder, "client")
    context = client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # the client hears of a refusal within the handshake
    context.load_cert_chain(folder / "client.pem", folder / "client.key")
    return context


@pytest.mark.parametrize("how", ["optional", "required"])
@pytest.mark.parametrize("name", ["a.example", "b.example"])
def test_a_client_with_a_good_certificate_is_let_in(
    files: Files, how: str, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shake(asking_for_clients(files, how), showing(CA.issue("client"), tmp_path_factory), name)


@pytest.mark.parametrize("how", ["optional", "required"])
@pytest.mark.parametrize("pair", [OTHER.issue("client"), CA.issue("client", days=EXPIRED)], ids=["stranger", "expired"])
def test_a_client_with_a_bad_certificate_is_refused(
    files: Files, how: str, pair: Pair, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(asking_for_clients(files, how), showing(pair, tmp_path_factory))


def test_a_client_without_a_certificate_is_refused_where_one_is_required(files: Files) -> None:
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake(asking_for_clients(files, "required"), client())


def test_a_client_without_a_certificate_is_let_in_where_one_is_optional(files: Files) -> None:
    shake(asking_for_clients(files, "optional"), client())


# Renewal


def test_a_greeting_shows_new_certificates_from_the_next_handshake_on(files: Files) -> None:
    first = ListenerTlsSpec((files.issue("a.example"),))
    second = ListenerTlsSpec((files.issue("b.example", "a.example"),), min_version="1.3")
    greeting = Greeting(first, files.contexts().identities(first))
    before = name_shown(greeting.context, "a.example")
    greeting.take(second, files.contexts().identities(second))
    outside = client()
    assert (before, name_shown(greeting.context, "a.example", outside)) == ("a.example", "b.example")
    outside.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake(greeting.context, outside)


def test_a_greeting_goes_on_unless_other_clients_are_let_in(files: Files) -> None:
    spec = ListenerTlsSpec((files.issue("a.example"),))
    greeting = Greeting(spec, files.contexts().identities(spec))
    strict = {"client_ca": files.add(CA.pem), "client_certificates": "required"}
    assert greeting.lets_in_as(replace(spec, certificates=(files.issue("b.example"),), min_version="1.3", http2=False))
    assert not greeting.lets_in_as(replace(spec, **strict))


def test_a_certificate_that_is_not_there_is_an_error(files: Files) -> None:
    with pytest.raises(ValueError, match="no file with the digest abc"):
        files.contexts().identities(ListenerTlsSpec((CertificateSpec("abc", "def"),)))


# Targets


def target(*names: str, days: tuple[int, int] = (-1, 30), authority: Authority = CA) -> ssl.SSLContext:
    """A target's own context, as any program might make it."""
    files = Files()
    pair = authority.issue(*names, days=days)
    return files.greeting(ListenerTlsSpec((files.pair(pair, *names),)))


def test_a_target_of_the_named_authority_is_believed(files: Files) -> None:
    both, http1 = files.contexts().target(TargetTlsSpec())
    assert both.verify_mode is http1.verify_mode is ssl.CERT_REQUIRED
    spec = TargetTlsSpec("a.example", files.add(CA.pem))
    both, http1 = files.contexts(spec).target(spec)
    assert shake(target("a.example"), both).selected_alpn_protocol() == "h2"
    assert shake(target("a.example"), http1).selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (target("b.example"), "certificate not accepted: Hostname mismatch, certificate is not valid for 'a.example'"),
        (target("a.example", authority=OTHER), "certificate not accepted: unable to get local issuer certificate"),
        (target("a.example", days=EXPIRED), "certificate not accepted: certificate has expired"),
    ],
    ids=["name", "stranger", "expired"],
)
def test_a_target_with_a_bad_certificate_is_refused_with_the_reason(
    files: Files, other: ssl.SSLContext, reason: str
) -> None:
    spec = TargetTlsSpec("a.example", files.add(CA.pem))
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        shake(other, files.contexts(spec).target(spec)[0])
    assert handshake_problem(caught.value) == reason


def test_authorities_of_the_system_know_nothing_of_ours(files: Files) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(target("a.example"), files.contexts().target(TargetTlsSpec("a.example"))[0])


def test_a_target_that_is_not_verified_may_be_anybody(files: Files) -> None:
    shake(target("b.example", authority=OTHER, days=EXPIRED), files.contexts().target(TargetTlsSpec(verify=False))[0])


def test_a_target_is_shown_a_certificate_when_it_asks(files: Files) -> None:
    own = files.pair(CA.issue("balancer"))
    spec = TargetTlsSpec("a.example", files.add(CA.pem), certificate=own.certificate, key=own.key)
    shake(asking_for_clients(files, "required"), files.contexts(spec).target(spec)[0])


def test_a_target_that_speaks_old_versions_only_is_refused(files: Files) -> None:
    spec = TargetTlsSpec("a.example", files.add(CA.pem), min_version="1.3")
    other = target("a.example")
    other.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError) as caught:
        shake(other, files.contexts(spec).target(spec)[0])
    assert "protocol" in handshake_problem(caught.value)


def test_the_same_specification_has_the_same_context_for_as_long_as_it_is_used(files: Files) -> None:
    spec = TargetTlsSpec("a.example", files.add(CA.pem))
    contexts = files.contexts(spec)
    first = contexts.target(spec)
    contexts.take(files.world(spec))
    assert contexts.target(spec) is first
    contexts.take(files.world())
    contexts.take(files.world(spec))
    assert contexts.target(spec) is not first


def test_targets_that_differ_in_their_names_only_share_a_context(files: Files) -> None:
    contexts = files.contexts()
    assert contexts.target(TargetTlsSpec("a")) is contexts.target(TargetTlsSpec("b"))
    assert contexts.target(TargetTlsSpec("a")) is not contexts.target(TargetTlsSpec("a", min_version="1.3"))


def test_no_key_is_shown_by_a_value_that_is_printed(files: Files) -> None:
    files.issue("a.example")
    assert "PRIVATE" not in repr(files.world())

"""Clients that speak TLS: certificates by name, versions, client certificates, and everything else as in clear text."""

import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scenarios.support.client import GET, Client, get, post
from tests.scenarios.support.messages import ClosedEarlyError
from tests.scenarios.support.polling import PATIENCE, eventually
from tests.scenarios.support.secure import SecureClient, trusting
from tests.scenarios.support.stage import Call, Stage, echoes
from tests.scenarios.tls.conftest import Clients, LendSecure, Secure, pair
from tests.support.certificates import Authority

# The alert that says why may be overtaken by a reset, when the client has sent more meanwhile.
REFUSED = (ssl.SSLError, ConnectionError, ClosedEarlyError)


def test_a_request_over_tls_is_forwarded_and_says_so(lend_secure: LendSecure, ca: Authority) -> None:
    balancer, target = lend_secure()
    with SecureClient(balancer.port, trusting(ca)) as client:
        assert client.ask(GET).status == 200
    with Client(balancer.plain) as client:
        assert client.ask(get("/", "X-Forwarded-Proto: https")).status == 200
    assert [request.get("x-forwarded-proto") for request in target.requests] == ["https", "http"]


def test_a_connection_is_kept_for_more_requests(secure: Secure, stage: Stage, ca: Authority) -> None:
    target = stage.target()
    with SecureClient(secure([target]).port, trusting(ca)) as client:
        client.send(get("/1") + get("/2"))
        assert [client.answer().status, client.answer().status, client.ask(get("/3")).status] == [200, 200, 200]
    assert (target.paths, target.connections) == (["/1", "/2", "/3"], 1)


def test_large_bodies_arrive_as_they_were_sent(lend_secure: LendSecure, ca: Authority) -> None:
    body = bytes(range(256)) * 16 * 1024  # 4 MiB
    balancer, _ = lend_secure(echoes)
    with SecureClient(balancer.port, trusting(ca)) as client:
        assert client.ask(post(body)).body == body


def test_a_tunnel_carries_bytes_both_ways(lend_secure: LendSecure, ca: Authority) -> None:
    async def switches(call: Call) -> None:
        await call.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nhello")
        await call.send(await call.reader.read(4))
        await call.gone()

    balancer, _ = lend_secure(switches)
    with SecureClient(balancer.port, trusting(ca)) as client:
        assert client.send(get("/", "Upgrade: x", "Connection: Upgrade")).head().status == 101
        assert client.receive(5) == b"hello"
        assert client.send(b"ping").receive(4) == b"ping"


def several(folder: Path) -> str:
    """The lines of three certificates, a.example's first."""
    return "".join(f"[[listeners.tls.certificates]]\n{pair(folder, each)}" for each in "abc")


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a.example", "a.example"), ("x.b.example", "*.b.example"), ("c.b.example", "c.b.example")],
)
def test_the_name_that_is_asked_for_chooses_the_certificate(
    lend_secure: LendSecure, lent_certificates: Path, ca: Authority, name: str, shown: str
) -> None:
    balancer, _ = lend_secure(tls=several(lent_certificates))
    with SecureClient(balancer.port, trusting(ca), name) as client:
        assert (client.names, client.ask(GET).status) == ([shown], 200)


def test_a_client_that_names_nobody_gets_the_first_certificate(
    lend_secure: LendSecure, lent_certificates: Path, ca: Authority
) -> None:
    context = trusting(ca)
    context.check_hostname = False
    balancer, _ = lend_secure(tls=several(lent_certificates))
    for name in (None, "127.0.0.1", "unknown.example"):
        with SecureClient(balancer.port, context, name) as client:
            assert client.names == ["a.example"]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_both_versions_are_spoken(lend_secure: LendSecure, ca: Authority, version: str) -> None:
    balancer, _ = lend_secure()
    with SecureClient(balancer.port, trusting(ca, newest=version)) as client:
        assert (client.tls.version(), client.ask(GET).status) == (f"TLSv{version}", 200)


def test_versions_below_the_oldest_are_refused(secure: Secure, certificates: Path, ca: Authority) -> None:
    balancer = secure(tls=f'{pair(certificates, "a")}min_version = "1.3"')
    with pytest.raises(ssl.SSLError, match="alert protocol version"):
        SecureClient(balancer.port, trusting(ca, newest="1.2"))
    with SecureClient(balancer.port, trusting(ca)) as client:
        assert client.ask(GET).status == 200


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(("version", "good"), [("-tls1_2", True), ("-tls1_1", False), ("-tls1", False)])
def test_tls_1_1_and_older_are_refused_whatever_is_configured(
    lend_secure: LendSecure, version: str, good: bool
) -> None:
    balancer, _ = lend_secure()
    found = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{balancer.port}", version, "-cipher", "ALL:@SECLEVEL=0"],
        input=b"",
        capture_output=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (b"BEGIN CERTIFICATE" in found.stdout) is good, found.stderr


@contextmanager
def interactive(port: int, version: str) -> Iterator[tuple[Callable[[bytes], None], Iterator[bytes]]]:
    """OpenSSL's own client after its handshake: what makes it send, and its lines, which tell of each message."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-msg", version]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        stdin, stdout = client.stdin, client.stdout
        assert stdin is not None
        assert stdout is not None
        lines = iter(stdout.readline, b"")
        assert any(b"NewSessionTicket" in line for line in lines), "the server's last word in a handshake"

        def send(data: bytes) -> None:
            stdin.write(data)
            stdin.flush()

        yield send, lines
        client.kill()


@pytest.mark.needs("openssl")
def test_keys_may_be_exchanged_in_the_middle(lend_secure: LendSecure) -> None:
    balancer, _ = lend_secure()
    with interactive(balancer.port, "-tls1_3") as (send, lines):
        # Its K is the wish that both sides take new keys (RFC 8446 4.6.3).
        send(b"K\n")
        assert any(line.startswith(b">>> ") and b"KeyUpdate" in line for line in lines)
        send(GET)
        assert any(line.startswith(b"<<< ") and b"KeyUpdate" in line for line in lines)
        assert any(b"HTTP/1.1 200 OK" in line for line in lines)


@pytest.mark.needs("openssl")
def test_a_second_handshake_on_a_connection_is_refused(lend_secure: LendSecure) -> None:
    balancer, _ = lend_secure()
    with interactive(balancer.port, "-tls1_2") as (send, lines):
        send(b"R\n")
        assert any(line.startswith(b"<<< ") and b"no_renegotiation" in line for line in lines)


@pytest.mark.parametrize("newest", ["1.2", "1.3"])
def test_a_session_is_resumed_within_a_worker(lend_secure: LendSecure, ca: Authority, newest: str) -> None:
    (balancer, _), context = lend_secure(), trusting(ca, newest=newest)
    with SecureClient(balancer.port, context) as client:
        assert client.ask(GET).status == 200
        session = client.tls.session
    with SecureClient(balancer.port, context, session=session) as client:
        assert (client.tls.session_reused, client.ask(GET).status) == (True, 200)


BOTH = ("h2", "http/1.1")


@pytest.mark.parametrize(("offered", "chosen"), [(("http/1.1",), "http/1.1"), (BOTH, "h2"), (BOTH[::-1], "h2")])
def test_http2_is_chosen_by_clients_that_offer_it(
    lend_secure: LendSecure, ca: Authority, offered: tuple[str, ...], chosen: str
) -> None:
    balancer, _ = lend_secure()
    with SecureClient(balancer.port, trusting(ca, protocols=offered)) as client:
        assert client.tls.selected_alpn_protocol() == chosen


def test_http2_can_be_switched_off(secure: Secure, certificates: Path, ca: Authority) -> None:
    balancer = secure(tls=f"{pair(certificates, 'a')}http2 = false")
    with SecureClient(balancer.port, trusting(ca, protocols=BOTH)) as client:
        assert (client.tls.selected_alpn_protocol(), client.ask(GET).status) == ("http/1.1", 200)


@pytest.mark.needs("curl")
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl_gets_its_answer(lend_secure: LendSecure, lent_certificates: Path, version: str) -> None:
    balancer, _ = lend_secure()
    found = subprocess.run(
        [
            *("curl", "-sS", version, "--cacert", lent_certificates / "ca.pem", "--max-time", str(PATIENCE)),
            *("--resolve", f"a.example:{balancer.port}:127.0.0.1", f"https://a.example:{balancer.port}/"),
        ],
        capture_output=True,
        check=False,
    )
    assert (found.stdout, found.stderr) == (b"ok", b"")


# Client certificates


def asking(certificates: Path, how: str) -> str:
    return f'{pair(certificates, "a")}client_ca_file = "{certificates}/ca.pem"\nclient_certificates = "{how}"'


def is_refused(port: int, context: ssl.SSLContext) -> bool:
    """Whether the balancer refuses; by TLS 1.3 a client hears of it only behind its handshake."""
    try:
        with SecureClient(port, context) as client:
            return client.ask(GET).status != 200
    except REFUSED:
        return True


@pytest.mark.parametrize(
    ("how", "kind", "refused"),
    [
        ("required", "good", False),
        ("required", "none", True),
        ("required", "strange", True),
        ("required", "expired", True),
        ("optional", "good", False),
        ("optional", "none", False),
        ("optional", "strange", True),
    ],
)
def test_client_certificates(lend_secure: LendSecure, clients: Clients, how: str, kind: str, refused: bool) -> None:
    balancer, _ = lend_secure(tls=asking(clients.folder, how))
    assert is_refused(balancer.port, clients.context(kind)) is refused


def test_a_client_that_is_refused_reaches_no_target(lend_secure: LendSecure, clients: Clients) -> None:
    balancer, target = lend_secure(tls=asking(clients.folder, "required"))
    for version in ("1.2", "1.3"):
        assert is_refused(balancer.port, clients.context("strange", newest=version))
    assert len(target.requests) == 0
    assert not is_refused(balancer.port, clients.context("good", newest="1.2"))


# Those who do not speak TLS, or not quickly


def test_a_client_in_clear_text_gets_nothing_and_harms_nobody(lend_secure: LendSecure, ca: Authority) -> None:
    balancer, target = lend_secure()
    with Client(balancer.port) as client:
        assert b"HTTP/1.1 200" not in client.send(GET).rest()
    with SecureClient(balancer.port, trusting(ca)) as client:
        assert client.ask(GET).status == 200
    assert len(target.requests) == 1


def test_clients_that_never_finish_a_handshake_hold_up_nobody(lend_secure: LendSecure, ca: Authority) -> None:
    balancer, _ = lend_secure()
    silent = [socket.create_connection(("127.0.0.1", balancer.port)) for _ in range(50)]
    try:
        for sock in silent[::2]:
            sock.sendall(b"\x16\x03\x01\x02\x00\x01")
        with SecureClient(balancer.port, trusting(ca)) as client:
            assert client.ask(GET).status == 200
    finally:
        for sock in silent:
            sock.close()


def test_bytes_that_are_no_tls_harm_nobody(lend_secure: LendSecure, ca: Authority) -> None:
    balancer, _ = lend_secure()
    for junk in (
        b"\x16\x03\x01\xff\xff" + b"\x00" * 70000,
        b"\x80\x80",
        b"\x00" * 100,
        b"\x15\x03\x03\x00\x02\x02\x28",
    ):
        with Client(balancer.port) as client:
            client.send(junk)
            client.rest()
    with SecureClient(balancer.port, trusting(ca)) as client:
        assert client.ask(GET).status == 200
    assert len(balancer.balancer.find("worker started")) == 1


def test_a_drain_lets_requests_end_and_closes_what_is_idle(secure: Secure, stage: Stage, ca: Authority) -> None:
    gate = stage.gate()

    async def waits(call: Call) -> None:
        await gate.passed()
        await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    target = stage.target(waits)
    balancer = secure([target])
    with SecureClient(balancer.port, trusting(ca)) as busy, SecureClient(balancer.port, trusting(ca)) as idle:
        busy.send(GET)
        eventually(lambda: gate.reached)
        balancer.balancer.process.terminate()
        assert idle.rest() == b""
        gate.open()
        assert busy.answer().status == 200
    assert balancer.balancer.wait_exit() == 0

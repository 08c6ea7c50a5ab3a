"""Targets that speak TLS: verified unless told otherwise, by requests and by probes alike."""

import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.client import GET, Client, fetch, get, post
from tests.scenarios.support.messages import ClosedEarlyError
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.secure import serving
from tests.scenarios.support.stage import Call, Stage, Target, echoes
from tests.scenarios.tls.conftest import pair
from tests.support.certificates import EXPIRED, Authority, Pair

Start = Callable[..., Balancer]

# Without them, so that a bad target is not taken out before the request.
NO_PROBES = '[pools.default.health]\ntype = "none"\n[pools.default.health.passive]\nenabled = false\n'


def probes(kind: str) -> str:
    return f'[pools.default.health]\ntype = "{kind}"\ninterval = "50ms"\ndown_interval = "50ms"\n'


@pytest.fixture
def start(balance: Balance, certificates: Path) -> Start:
    """Starts a balancer that trusts the authority."""

    def begin(targets: Sequence[Target], tls: str = "", health: str = NO_PROBES, ca: str = "ca") -> Balancer:
        trust = "" if "verify" in tls else f'ca_file = "{certificates}/{ca}.pem"\n'
        return balance(targets, Setting(pool=f"{health}[pools.default.tls]\n{trust}{tls}\n"))

    return begin


@pytest.fixture
def good(stage: Stage, ca: Authority, certificates: Path) -> Target:
    """A target whose certificate is for its address."""
    return stage.target(echoes, tls=serving(ca.issue("127.0.0.1"), certificates))


def test_requests_go_over_tls_and_share_a_connection(start: Start, good: Target) -> None:
    balancer = start([good])
    body = bytes(range(256)) * 4096
    with Client(balancer.port) as client:
        assert client.ask(post(body)).body == body
        assert client.ask(post(b"again")).body == b"again"
    assert good.connections == 1


@pytest.mark.parametrize("whole", [True, False])
def test_an_answer_that_ends_with_the_connection_is_whole_if_tls_says_so(
    start: Start, stage: Stage, ca: Authority, certificates: Path, whole: bool
) -> None:
    async def script(call: Call) -> None:
        await call.body()
        await call.send(b"HTTP/1.1 200 OK\r\n\r\nthe beginning")
        if whole:
            call.close()
        else:
            # As anybody on the way can do it: the connection ends, and TLS has not.
            call.writer.get_extra_info("socket").shutdown(socket.SHUT_WR)

    target = stage.target(script, tls=serving(ca.issue("127.0.0.1"), certificates))
    with Client(start([target]).port) as client:
        client.send(GET)
        if whole:
            assert client.answer().body == b"the beginning"
        else:
            with pytest.raises(ClosedEarlyError):
                client.answer()


def test_a_target_is_found_by_the_configured_name(
    start: Start, stage: Stage, ca: Authority, certificates: Path
) -> None:
    context = serving(ca.issue("inner.example"), certificates)
    asked: list[str | None] = []
    context.sni_callback = lambda _connection, name, _context: asked.append(name)
    target = stage.target(tls=context)
    assert fetch(start([target], 'server_name = "Inner.example."').port).status == 200
    assert asked == ["inner.example"]


@pytest.fixture(params=["another name", "another address", "a stranger", "expired"])
def bad(request: pytest.FixtureRequest, ca: Authority, stranger: Authority) -> tuple[Pair, str]:
    """A certificate that 127.0.0.1 must not have, and what is wrong with it."""
    match request.param:
        case "another name":
            return ca.issue("b.example"), "IP address mismatch"
        case "another address":
            return ca.issue("127.0.0.2"), "IP address mismatch"
        case "a stranger":
            return stranger.issue("127.0.0.1"), "unable to get local issuer certificate"
        case _:
            return ca.issue("127.0.0.1", days=EXPIRED), "certificate has expired"


def test_a_target_with_a_bad_certificate_gets_no_request(
    start: Start, stage: Stage, certificates: Path, bad: tuple[Pair, str]
) -> None:
    certificate, reason = bad
    target = stage.target(tls=serving(certificate, certificates))
    balancer = start([target])
    answer = fetch(balancer.port)
    assert (answer.status, reason.encode() in answer.body) == (502, True)
    assert target.requests == []
    [line] = balancer.access_log()
    assert (line["status"], line["error"].partition(":")[0]) == (502, "tls_failed (upstream)")
    balancer.wait_idle()


def test_an_authority_that_expired_vouches_for_nobody(start: Start, stage: Stage, certificates: Path) -> None:
    old = Authority("Old CA", EXPIRED).write(certificates, "old")
    target = stage.target(tls=serving(old.issue("127.0.0.1"), certificates))
    balancer = start([target], ca="old")
    assert fetch(balancer.port).status == 502
    assert balancer.access_log()[0]["error"].startswith("tls_failed (upstream)")
    [warning] = balancer.find("questionable")
    assert (warning["path"], "expired on" in warning["reason"]) == ("pools.default.tls.ca_file", True)


def test_a_request_goes_on_to_a_target_with_a_good_certificate(
    start: Start, stage: Stage, stranger: Authority, certificates: Path, good: Target
) -> None:
    bad = stage.target(tls=serving(stranger.issue("127.0.0.1"), certificates))
    balancer = start([bad, good])
    assert [fetch(balancer.port, post(b"once")).body for _ in range(4)] == [b"once"] * 4
    assert bad.requests == []


def test_a_target_is_anybody_when_it_is_not_verified(
    start: Start, stage: Stage, stranger: Authority, certificates: Path
) -> None:
    target = stage.target(tls=serving(stranger.issue("b.example", days=EXPIRED), certificates))
    balancer = start([target], "verify = false")
    assert fetch(balancer.port).status == 200
    assert [line["path"] for line in balancer.find("questionable")] == ["pools.default.tls.verify"]


def test_a_target_that_insists_on_a_certificate_is_shown_one(
    start: Start, stage: Stage, ca: Authority, certificates: Path
) -> None:
    target = stage.target(tls=serving(ca.issue("127.0.0.1"), certificates, clients=ca))
    assert fetch(start([target], pair(certificates, "a")).port).status == 200


def test_a_target_that_insists_on_a_certificate_refuses_a_balancer_without(
    start: Start, stage: Stage, ca: Authority, certificates: Path
) -> None:
    target = stage.target(tls=serving(ca.issue("127.0.0.1"), certificates, clients=ca))
    assert fetch(start([target]).port).status == 502
    assert target.requests == []


# Probes


@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_probes_believe_no_stranger(
    start: Start, stage: Stage, stranger: Authority, certificates: Path, kind: str
) -> None:
    bad = stage.target(tls=serving(stranger.issue("127.0.0.1"), certificates))
    line = start([bad], health=probes(kind)).wait_for("target down", target=bad.name)
    assert line["reason"].startswith("health probe failed: TLS: certificate not accepted: unable to get local issuer")
    assert bad.requests == []


def test_http_probes_of_a_good_target_go_over_tls(start: Start, good: Target) -> None:
    balancer = start([good], health=probes("http"))
    eventually(lambda: len(good.paths) > 1)
    assert balancer.find("target down") == []


def test_a_target_comes_back_when_its_certificate_is_good_again(
    start: Start, stage: Stage, ca: Authority, certificates: Path
) -> None:
    target = stage.target(tls=serving(ca.issue("127.0.0.1", days=EXPIRED), certificates))
    balancer = start([target], health=probes("tcp"))
    balancer.wait_for("target down", target=target.name)
    target.stop()
    target.tls = serving(ca.issue("127.0.0.1"), certificates)
    target.start()
    balancer.wait_for("target up", target=target.name)
    eventually(lambda: fetch(balancer.port), lambda message: message.status == 200)


# Both sides


def test_an_upgrade_goes_over_tls(start: Start, stage: Stage, ca: Authority, certificates: Path) -> None:
    async def switches(call: Call) -> None:
        await call.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nhello")
        await call.send(await call.reader.read(4))
        await call.gone()

    target = stage.target(switches, tls=serving(ca.issue("127.0.0.1"), certificates))
    with Client(start([target]).port) as client:
        assert client.send(get("/", "Upgrade: x", "Connection: Upgrade")).head().status == 101
        assert client.receive(5) == b"hello"
        assert client.send(b"ping").receive(4) == b"ping"

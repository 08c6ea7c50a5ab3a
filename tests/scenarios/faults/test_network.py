"""A network that loses packets, falls apart, heals, and calls targets by other addresses than before."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from tests.scenarios.support.balancer import Balancer, Setting, urls
from tests.scenarios.support.client import GET, Background, Client, Load, fetch, get, post
from tests.scenarios.support.hosts import Host, Network, why_not
from tests.scenarios.support.messages import ClosedEarlyError
from tests.scenarios.support.names import NameService
from tests.scenarios.support.polling import eventually, stays
from tests.scenarios.support.stage import Call, Script, Stage, Target, answer, hangs, says

pytestmark = [pytest.mark.needs("ip", "tc", "unshare"), pytest.mark.timeout(120)]

ROWS = '[pools.default.health]\ninterval = "200ms"\ndown_interval = "100ms"\ntimeout = "2s"\n'
LIMITS = '[limits]\nconnect_timeout = "1s"\nresponse_timeout = "600ms"\nbody_timeout = "600ms"\n'
PARTED = Setting(pool=ROWS, more=LIMITS)
BLIND = Setting(pool='health.type = "none"\n[pools.default.health.passive]\nenabled = false\n', more=LIMITS)
# With a few packets in a hundred lost, TCP needs its time: what is slow then is not down.
PATIENT = Setting(pool='health.type = "none"', more='[limits]\nconnect_timeout = "15s"\n')
CALLS = 200


class Place:
    """The balancer's host, and a host for each target. A test is `inside` the first: it is the clients' too."""

    def __init__(self, folder: Path, network: Network, over: ExitStack) -> None:
        self.network = network
        self.home = network.host("balancer")
        self._folder = folder
        self._over = over

    def target(self, name: str, script: Script | None = None) -> tuple[Host, Target]:
        """A target on a host of its own; it answers with its name."""
        host = self.network.host(name)
        with host.inside():
            stage = self._over.enter_context(Stage())
            return host, stage.target(script or says(answer("200 OK", name.encode())), host.address)

    def targets(self, *names: str) -> tuple[list[Host], list[Target]]:
        both = [self.target(name) for name in names]
        return [host for host, _ in both], [target for _, target in both]

    def balancer(self, found_at: Sequence[str], setting: Setting = PARTED, wrapper: Sequence[str] = ()) -> Balancer:
        """Runs on its host and sees the names of hosts."""
        command = self.home.command(wrapper)
        return self._over.enter_context(Balancer(self._folder, setting.text(found_at), command))

    def name_service(self) -> tuple[NameService, list[str]]:
        """A name service, and the command line that has a program believe it."""
        with self.home.inside():
            service = self._over.enter_context(NameService("127.0.0.1"))
        (self._folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        (self._folder / "nsswitch.conf").write_text("hosts: files dns\n")
        script = 'for f in resolv.conf nsswitch.conf; do mount --bind "$0/$f" /etc/$f || exit 1; done; exec "$@"'
        return service, ["sh", "-c", script, str(self._folder)]


@contextmanager
def a_place(folder: Path) -> Iterator[Place]:
    if reason := why_not():
        pytest.skip(reason)
    with Network(folder) as network, ExitStack() as over:
        yield Place(folder, network, over)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with a_place(tmp_path) as place, place.home.inside():
        yield place


@dataclass
class Pair:
    """Two targets, a and b, on hosts of their own, and the balancer before them."""

    place: Place
    hosts: list[Host]
    targets: list[Target]
    balancer: Balancer

    @contextmanager
    def ready(self) -> Iterator[Self]:
        """For one test: the network is whole, both answer, and nothing was seen."""
        with self.place.home.inside():
            for host in self.hosts:
                host.lose_nothing()
            eventually(lambda: bodies(self.balancer), lambda seen: seen == {b"a", b"b"})
            for target in self.targets:
                target.forget(target.script)
            yield self


def a_pair(folder: Path, setting: Setting) -> Iterator[Pair]:
    with a_place(folder) as place:
        hosts, targets = place.targets("a", "b")
        yield Pair(place, hosts, targets, place.balancer(urls(targets), setting))


@pytest.fixture(scope="module")
def shared_probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    yield from a_pair(tmp_path_factory.mktemp("probed"), PARTED)


@pytest.fixture
def probed(shared_probed: Pair) -> Iterator[Pair]:
    """A pair whose health is known."""
    with shared_probed.ready() as pair:
        yield pair


@pytest.fixture(scope="module")
def shared_blind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    yield from a_pair(tmp_path_factory.mktemp("blind"), BLIND)


@pytest.fixture
def blind(shared_blind: Pair) -> Iterator[Pair]:
    """A pair of whose health nothing is known, so that requests run into everything."""
    with shared_blind.ready() as pair:
        yield pair


def bodies(balancer: Balancer, count: int = 6) -> set[bytes]:
    return {fetch(balancer.port).body for _ in range(count)}


def counted(targets: Sequence[Target]) -> dict[str, int]:
    """How often each path was seen by any target."""
    paths = [path for target in targets for path in target.paths]
    return {path: paths.count(path) for path in set(paths)}


@pytest.mark.parametrize("request_", [GET, post(b"x" * 3000)], ids=["GET", "POST"])
def test_packets_that_are_lost_cost_time_and_no_request(place: Place, request_: bytes) -> None:
    hosts, targets = place.targets("a", "b", "c")
    balancer = place.balancer(urls(targets), PATIENT)
    for host in hosts:
        host.lose(0.03)
    load = Load(balancer.port, 16, request_)
    results = load.run_times(CALLS)
    results.assert_all_good()
    # One for one: nothing was sent again by the balancer, whatever TCP did.
    assert sum(len(target.requests) for target in targets) == results.answered
    assert all(target.requests for target in targets)
    balancer.wait_idle()


def test_a_partition_costs_no_get_and_its_end_brings_the_share_back(probed: Pair) -> None:
    balancer, hosts, targets = probed.balancer, probed.hosts, probed.targets
    downs = len(balancer.find("target down"))
    load = Load(balancer.port, 6)
    with Background(load) as background:
        background.wait_for(20)
        hosts[0].lose(1.0)
        eventually(lambda: len(balancer.find("target down")), lambda count: count > downs)
        background.wait_for(20)
        before = len(targets[0].requests)
        hosts[0].lose_nothing()
        eventually(lambda: len(targets[0].requests), lambda count: count > before + 10)
    load.results.assert_all_good()
    balancer.wait_idle()


def test_a_post_whose_answer_cannot_come_back_is_504_and_was_at_one_target_once(blind: Pair) -> None:
    """The target hears everything and nobody hears it: whoever sends again, sends twice."""
    balancer = blind.balancer
    for host in blind.hosts:
        host.lose(1.0, ["egress"])
    clients = [Client(balancer.port).send(post(b"x", path=f"/{number}")) for number in range(6)]
    # Those that found a connection were sent; for the others none can be made.
    assert {client.answer().status for client in clients} == {504}
    for host in blind.hosts:
        host.lose_nothing()
    eventually(lambda: bodies(balancer, 4), lambda seen: seen == {b"a", b"b"})
    seen = {path: times for path, times in counted(blind.targets).items() if path != "/"}
    assert seen, "none of them reached a target"
    assert set(seen.values()) == {1}
    balancer.wait_idle()


def test_a_get_whose_answer_cannot_come_back_is_answered_by_another_target(blind: Pair) -> None:
    blind.hosts[0].lose(1.0, ["egress"])
    clients = [Client(blind.balancer.port).send(get(f"/{number}")) for number in range(4)]
    assert {client.answer().body for client in clients} == {b"b"}
    blind.balancer.wait_idle()


def test_targets_that_restarted_behind_a_partition_get_no_post_twice(blind: Pair) -> None:
    """The balancer's idle connections lead to processes that are gone, and nobody could tell it."""
    for host, target in zip(blind.hosts, blind.targets, strict=True):
        host.lose(1.0)
        target.stop()
        target.start()
        host.lose_nothing()
    posts = [post(b"x", path=f"/{number}") for number in range(6)]
    assert {fetch(blind.balancer.port, each).status for each in posts} <= {200, 502}
    assert {fetch(blind.balancer.port, get(f"/after-{number}")).status for number in range(4)} == {200}
    assert set(counted(blind.targets).values()) == {1}
    blind.balancer.wait_idle()


def test_when_every_target_is_cut_off_clients_hear_so_and_the_end_of_it_is_found(probed: Pair) -> None:
    balancer = probed.balancer
    for host in probed.hosts:
        host.lose(1.0)
    # First it is a timeout each, then it is known.
    statuses: list[int] = []

    def status() -> int:
        statuses.append(fetch(balancer.port).status)
        return statuses[-1]

    eventually(status, lambda code: code == 503)
    assert set(statuses) <= {503, 504}
    for host in probed.hosts:
        host.lose_nothing()
    eventually(status, lambda code: code == 200)
    eventually(lambda: bodies(balancer), lambda seen: seen == {b"a", b"b"})
    balancer.wait_idle()


def test_a_client_that_is_cut_off_in_the_middle_holds_nothing_for_long(place: Place) -> None:
    async def endless(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
        while not call.writer.is_closing():
            await call.send(b"x" * 65536)

    _, target = place.target("a", endless)
    balancer = place.balancer(urls([target]), Setting(more=LIMITS, listen="0.0.0.0:0"))
    far = place.network.host("client")
    with far.inside():
        sock = socket.create_connection((place.home.address, balancer.port))
    with closing(sock):
        sock.sendall(GET)
        assert sock.recv(1000)
        far.lose(1.0)
        eventually(balancer.in_flight, lambda count: count == 1)
        balancer.wait_idle()
    eventually(lambda: target.in_flight, lambda count: count == 0)


def test_a_target_that_a_partition_caught_in_the_middle_of_its_answer_breaks_it_visibly(place: Place) -> None:
    async def half(call: Call) -> None:
        await call.send(answer("200 OK", b"x" * 1000)[:-500])
        await hangs(call)

    (host, target), (_, other) = place.target("a", half), place.target("b", half)
    balancer = place.balancer(urls([target, other]))
    with Client(balancer.port) as client:
        client.send(GET).head()
        host.lose(1.0)
        with pytest.raises((ClosedEarlyError, ConnectionResetError)):
            client.receive(1000)
    assert len(target.requests) + len(other.requests) == 1
    balancer.wait_idle()


# Names


def test_a_name_that_means_another_target_leads_there(place: Place) -> None:
    hosts, targets = place.targets("a", "b")
    targets[1].stop()
    targets[1].port = targets[0].port
    targets[1].start()
    service, wrapper = place.name_service()
    service.names["service.test"] = [hosts[0].address]
    balancer = place.balancer([f"http://service.test:{targets[0].port}"], PARTED, wrapper)
    assert bodies(balancer) == {b"a"}
    service.names["service.test"] = [hosts[1].address]
    # The one before is not even asked any more, though it would answer.
    eventually(lambda: fetch(balancer.port).body, lambda body: body == b"b")
    assert bodies(balancer) == {b"b"}
    service.names["service.test"] = [hosts[1].address, hosts[0].address]
    hosts[1].lose(1.0)
    eventually(lambda: fetch(balancer.port).body, lambda body: body == b"a")


def test_while_the_name_service_is_away_the_old_addresses_serve(place: Place) -> None:
    (host,), (target,) = place.targets("a")
    service, wrapper = place.name_service()
    service.names["service.test"] = [host.address]
    balancer = place.balancer([f"http://service.test:{target.port}"], PARTED, wrapper)
    service.mood = "failing"
    told = balancer.wait_for("name does not resolve", name="service.test")
    assert told["keeps_old_addresses"] is True
    assert bodies(balancer, 20) == {b"a"}
    service.mood = "well"
    balancer.wait_for("name resolves again", name="service.test")
    assert balancer.find("target down") == []


def test_a_name_service_that_is_away_at_the_start_holds_up_the_other_targets_for_two_seconds(place: Place) -> None:
    hosts, targets = place.targets("a", "b")
    service, wrapper = place.name_service()
    service.mood = "silent"
    found_at = [f"http://service.test:{targets[0].port}", targets[1].url]
    balancer = place.balancer(found_at, PARTED, wrapper)
    stays(lambda: bodies(balancer, 2), lambda seen: seen == {b"b"})
    service.names["service.test"] = [hosts[0].address]
    service.mood = "well"
    eventually(lambda: bodies(balancer, 4), lambda seen: seen == {b"a", b"b"})

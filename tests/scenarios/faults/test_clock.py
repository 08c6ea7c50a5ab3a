"""The wall clock is set while requests flow: what people read follows it, and nothing else does."""

import signal
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from tests.scenarios.support.admin import Admin
from tests.scenarios.support.balancer import Balancer, Setting, urls
from tests.scenarios.support.client import GET, Background, Client, Load, fetch
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Stage, Target, answer, says
from tests.scenarios.support.wall_clock import WallClock

pytestmark = pytest.mark.needs("cc")

HOUR, DAY = 3600, 86_400
# As by hand, to beyond 2038, by a dead battery, and by NTP.
JUMPS = [DAY, -DAY, 20 * 365 * DAY, -40 * 365 * DAY, 1, 0]
SHORT = '[limits]\nhead_timeout = "400ms"\n'
CACHE = '[pools.default.cache]\nenabled = true\nmode = "rfc9111"\nkeep_stale = "1h"\n'


class Scene:
    """A balancer whose wall clock jumps, before two targets."""

    def __init__(self, balancer: Balancer, clock: WallClock, targets: list[Target]) -> None:
        self.balancer = balancer
        self.clock = clock
        self.targets = targets
        self.admin = Admin(balancer)


@pytest.fixture(scope="module")
def made(shared_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("clock")
    targets = [shared_stage.target(), shared_stage.target()]
    health = '[pools.default.health]\ninterval = "200ms"\ndown_interval = "100ms"\n'
    setting = Setting(workers=2, admin=True, pool=health + CACHE, more=SHORT)
    with closing(WallClock(folder)) as clock, Balancer(folder, setting.text(urls(targets)), clock.wrapper) as balancer:
        yield Scene(balancer, clock, targets)


@pytest.fixture
def scene(made: Scene) -> Iterator[Scene]:
    for target in made.targets:
        target.forget(says(answer()))
    yield made
    made.clock.set(0)


def test_no_request_and_no_target_is_lost_whatever_it_is_set_to(scene: Scene) -> None:
    workers = scene.balancer.workers
    idle = Client(scene.balancer.port)
    assert idle.ask(GET).status == 200
    load = Load(scene.balancer.port, 4)
    with Background(load) as background:
        for seconds in JUMPS:
            scene.clock.set(seconds)
            background.wait_for(15)
    load.results.assert_all_good()
    # Nobody was idle for too long, and nobody's mean, health or life depends on it.
    assert idle.ask(GET).status == 200
    assert scene.balancer.find("target down") == []
    assert scene.balancer.workers == workers
    scene.balancer.wait_idle()


def test_a_request_that_is_under_way_is_not_timed_out(scene: Scene) -> None:
    gate = scene.targets[0].stage.gate()

    async def waits(call: Call) -> None:
        await gate.passed()
        await call.send(answer())

    for target in scene.targets:
        target.script = waits
    clients = [Client(scene.balancer.port).send(GET) for _ in range(4)]
    eventually(lambda: gate.reached, lambda count: count == 4)
    for seconds in JUMPS:
        scene.clock.set(seconds)
        # By the time that this one's time is up, the workers have looked at everything that is due.
        assert too_slow(scene) == 408
        assert not any(client.has_bytes() for client in clients)
    gate.open()
    assert [client.answer().status for client in clients] == [200] * 4


def too_slow(scene: Scene) -> int:
    """What a client hears that never ends its head."""
    with Client(scene.balancer.port) as client:
        return client.send(b"GET / HTTP/1.1\r\n").answer().status


@pytest.mark.parametrize("seconds", [DAY, -DAY])
def test_a_target_that_dies_afterwards_is_out_and_back_in_time(scene: Scene, seconds: int) -> None:
    scene.clock.set(seconds)
    target = scene.targets[0]
    target.stop()
    scene.balancer.wait_for("target down", target=target.name)
    assert {fetch(scene.balancer.port).status for _ in range(4)} == {200}
    target.start()
    scene.balancer.wait_for("target up", target=target.name)


def test_the_log_follows_it_and_its_durations_do_not(scene: Scene) -> None:
    scene.clock.set(10 * DAY)
    wanted = datetime.now(UTC) + timedelta(days=10)

    def newest() -> timedelta:
        fetch(scene.balancer.port)
        line = scene.balancer.access_log()[-1]
        assert 0 <= line["duration_ms"] < 20_000
        return abs(datetime.fromisoformat(line["time"]) - wanted)

    eventually(newest, lambda off: off < timedelta(minutes=5))
    scene.balancer.signal(signal.SIGHUP)
    eventually(lambda: since(scene.balancer.find("reloaded"), wanted), lambda off: off < timedelta(minutes=5))
    # With a token of today nothing can be asked ten days later.
    scene.clock.set(0)
    status = scene.admin.status()
    assert status["uptime_s"] < HOUR
    assert all(target["mean_response_ms"] < 20_000 for target in status["pools"]["default"]["targets"])


def since(events: list[dict[str, str]], moment: datetime) -> timedelta:
    """How far the last of them is from a moment."""
    return abs(datetime.fromisoformat(events[-1]["time"]) - moment) if events else timedelta.max


def test_a_token_ends_by_it(scene: Scene) -> None:
    """RFC 7519 4.1.4 means the time of day; here it has to be right."""
    assert scene.admin.ask("GET", "/v1/status").status == 200
    scene.clock.set(2 * HOUR)
    assert scene.admin.ask("GET", "/v1/status").status == 401
    scene.clock.set(0)
    assert scene.admin.ask("GET", "/v1/status").status == 200


def test_a_stored_answer_grows_no_younger(scene: Scene) -> None:
    numbers = iter(range(1000))

    async def counts(call: Call) -> None:
        await call.send(answer("200 OK", b"%d" % next(numbers), "Cache-Control: max-age=1"))

    for target in scene.targets:
        target.script = counts
    first = fetch(scene.balancer.port).body
    assert fetch(scene.balancer.port).body == first
    scene.clock.set(-DAY)
    # Within the patience of a test, not within the day that the clock has to make up for.
    eventually(lambda: fetch(scene.balancer.port).body, lambda body: body != first)

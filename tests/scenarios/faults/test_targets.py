"""Targets that freeze, break off at any point of an answer, and take their time over each byte."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.scenarios.support.balancer import Balancer, Setting, urls
from tests.scenarios.support.client import GET, Background, Client, Load, fetch, get, post
from tests.scenarios.support.messages import ClosedEarlyError, Message
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.real_target import RealTarget
from tests.scenarios.support.stage import Call, Script, Stage, Target

# Failing targets stay in: what is tested is each request's own luck.
STAY = "health.type = 'none'\n[pools.default.health.passive]\nenabled = false\n"
# The budget is for loads; here every second request is one that fails.
FREE = f"retry.budget = 1.0\n{STAY}"
BY_LENGTH = b"HTTP/1.1 200 OK\r\nX-Answer: whole\r\nContent-Length: 10\r\n\r\n0123456789"
IN_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n"
BODY = b"0123456789"


@dataclass
class Pair:
    """Two targets which share what befell whom: the first attempt of a path is cut off, any other is answered."""

    balancer: Balancer
    targets: list[Target]
    seen: Counter[str] = field(default_factory=Counter)

    def cut(self, whole: bytes, at: int, ending: str) -> None:
        """From now on: so many bytes of an answer, and then its end."""
        self.seen.clear()

        async def script(call: Call) -> None:
            path = call.request.target
            self.seen[path] += 1
            await call.body()
            if self.seen[path] > 1:
                await call.send(whole)
                return
            if at:
                await call.send(whole[:at])
            if ending == "reset":
                # Once the bytes are there: a reset overtakes what the other side has not read.
                await asyncio.sleep(0.02)
                call.reset()
            else:
                call.close()

        for target in self.targets:
            target.forget(script)

    def ask(self, request: bytes) -> Message | None:
        """The whole answer; None when it broke off visibly, and nothing was there that could be taken for whole."""
        with Client(self.balancer.port) as client:
            client.send(request)
            with suppress(ClosedEarlyError, ConnectionResetError):
                return client.answer()
        return None


@pytest.fixture(scope="module")
def pair(shared_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    targets = [shared_stage.target(), shared_stage.target()]
    with Balancer(tmp_path_factory.mktemp("pair"), Setting(pool=FREE).text(urls(targets))) as balancer:
        yield Pair(balancer, targets)


def points(whole: bytes) -> Sequence[int]:
    """Where to cut: within every line, at every border, and before the last byte."""
    head = whole.index(b"\r\n\r\n") + 4
    return sorted(
        {0, 1, 9, 12, 15, 17, 20, head - 2, head - 1, head, head + 1, head + 3, len(whole) - 3, len(whole) - 1}
    )


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("whole", [BY_LENGTH, IN_CHUNKS], ids=["length", "chunks"])
def test_an_answer_cut_at_any_point_is_never_passed_off_as_whole(pair: Pair, whole: bytes, ending: str) -> None:
    head = whole.index(b"\r\n\r\n") + 4
    for at in points(whole):
        pair.cut(whole, at, ending)
        got = pair.ask(get(f"/{at}"))
        if at < head:
            # Nothing of it went to the client, so a GET gets another chance.
            assert got is not None, f"cut at {at}"
            assert (got.status, got.body, pair.seen[f"/{at}"]) == (200, BODY, 2), f"cut at {at}"
        else:
            assert (got, pair.seen[f"/{at}"]) == (None, 1), f"cut at {at}"
    pair.balancer.wait_idle()


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_post_whose_answer_is_cut_at_any_point_was_at_one_target_once(pair: Pair, ending: str) -> None:
    head = BY_LENGTH.index(b"\r\n\r\n") + 4
    for at in points(BY_LENGTH):
        pair.cut(BY_LENGTH, at, ending)
        got = pair.ask(post(b"x", path=f"/{at}"))
        assert pair.seen == {f"/{at}": 1}, f"cut at {at}"
        assert (got.status if got else None) == (502 if at < head else None), f"cut at {at}"
    pair.balancer.wait_idle()


def test_a_post_that_is_cut_off_while_it_is_sent_was_at_one_target_once(pair: Pair) -> None:
    seen: Counter[str] = Counter()

    async def takes_some(call: Call) -> None:
        seen[call.request.target] += 1
        await call.reader.read(1000)
        call.reset()

    for target in pair.targets:
        target.forget(takes_some)
    for number in range(8):
        with Client(pair.balancer.port) as client, suppress(ConnectionError, ClosedEarlyError):
            assert client.send(post(b"x" * 300_000, path=f"/{number}")).answer().status == 502
    assert set(seen.values()) == {1}
    pair.balancer.wait_idle()


@pytest.fixture(scope="module")
def slow(shared_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Answers may take a second."""
    target = shared_stage.target()
    setting = Setting(pool=STAY, more='[limits]\nresponse_timeout = "1s"')
    with Balancer(tmp_path_factory.mktemp("slow"), setting.text([target.url])) as balancer:
        yield Pair(balancer, [target])


def drips(first: bytes, rest: bytes) -> Script:
    """Sends the first at once, and of the rest a byte now and then."""

    async def script(call: Call) -> None:
        await call.body()
        await call.send(first)
        for byte in rest:
            await asyncio.sleep(0.15)
            await call.send(bytes([byte]))

    return script


def test_a_body_that_comes_byte_by_byte_arrives_however_long_it_takes(slow: Pair) -> None:
    """The time that is limited is the one between two pieces."""
    slow.targets[0].forget(drips(BY_LENGTH[:-10], BODY))
    got = slow.ask(GET)
    assert got is not None
    assert got.body == BODY


def test_a_head_that_comes_byte_by_byte_is_too_late(slow: Pair) -> None:
    slow.targets[0].forget(drips(BY_LENGTH[:9], BY_LENGTH[9:]))
    got = slow.ask(post(b"x"))
    assert got is not None
    assert (got.status, len(slow.targets[0].requests)) == (504, 1)
    slow.balancer.wait_idle()


ROWS = '[pools.default.health]\ntype = "http"\ninterval = "200ms"\ndown_interval = "100ms"\ntimeout = "400ms"\n'


def test_a_frozen_process_costs_no_get_and_serves_again_when_it_goes_on(
    real_targets: Callable[..., RealTarget], tmp_path: Path
) -> None:
    """Its kernel goes on taking connections and requests for it, so only time can tell."""
    targets = [real_targets(), real_targets()]
    setting = Setting(pool=ROWS, more='[limits]\nresponse_timeout = "500ms"\n')
    with Balancer(tmp_path, setting.text([target.url for target in targets])) as balancer:
        gets, posts = Load(balancer.port, 4), Load(balancer.port, 2, post(b"x"))
        with Background(gets) as reading, Background(posts) as writing:
            reading.wait_for(20)
            targets[0].signal(signal.SIGSTOP)
            balancer.wait_for("target down", target=targets[0].name)
            reading.wait_for(20)
            targets[0].signal(signal.SIGCONT)
            balancer.wait_for("target up", target=targets[0].name)
            writing.wait_for(20)
        gets.results.assert_all_good()
        # Those that it had when it froze, one a connection at the most; none of them went on to the other.
        assert not posts.results.errors
        assert set(posts.results.statuses) <= {200, 504}
        assert posts.results.statuses[504] <= 2 * 2
        balancer.wait_idle()
        before = served(balancer, targets[0])

        def more() -> int:
            fetch(balancer.port)
            return served(balancer, targets[0]) - before

        eventually(more, lambda count: count > 2)


def served(balancer: Balancer, target: RealTarget) -> int:
    """Lines of the access log that name the target."""
    return sum(line["target"] == target.name for line in balancer.access_log())

"""When a failed attempt is made again at another target, and when it must not be."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Balancer, Setting, urls
from tests.scenarios.support.client import GET, Client, Load, chunked, fetch, get, post
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import (
    Call,
    Script,
    Stage,
    Target,
    answer,
    echoes,
    hangs,
    resets,
    says,
    says_and_closes,
)

# Failing targets stay in: what is tested is each request's own luck.
NEVER_OUT = Setting(pool="health.passive.enabled = false\nhealth.type = 'none'")
UNSAFE = ["POST", "PATCH", "LOCK", "PURGE"]
SAFE = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]


def request(method: str) -> bytes:
    """A request without a body."""
    return GET.replace(b"GET", method.encode(), 1)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_target_that_takes_no_connection_is_passed_over(stage: Stage, balance: Balance, method: str) -> None:
    good = stage.target(echoes)
    balancer = balance([stage.closed_port(), stage.closed_port(), good], NEVER_OUT)
    with Client(balancer.port) as client:
        for _ in range(6):
            assert client.ask(post(b"body", method=method)).body == b"body"
    assert len(good.requests) == 6


def test_every_target_is_tried_before_a_request_that_was_never_sent_fails(stage: Stage, balance: Balance) -> None:
    good = stage.target()
    balancer = balance([*(stage.closed_port() for _ in range(8)), good], NEVER_OUT)
    for _ in range(9):
        assert fetch(balancer.port, request("POST")).status == 200


def test_when_no_target_takes_a_connection_the_client_hears_502(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.closed_port(), stage.closed_port()], NEVER_OUT)
    assert fetch(balancer.port).status == 502


@dataclass
class Pair:
    """A balancer before two targets, for several tests."""

    balancer: Balancer
    bad: Target
    good: Target


@pytest.fixture(scope="module")
def pair(shared_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Nothing takes either of its targets out; each test says what they do."""
    targets = [shared_stage.target(), shared_stage.target()]
    with Balancer(tmp_path_factory.mktemp("pair"), NEVER_OUT.text(urls(targets))) as balancer:
        yield Pair(balancer, *targets)


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("script", [resets, says_and_closes()], ids=["reset", "closed"])
def test_a_safe_request_is_sent_again_after_a_break(pair: Pair, script: Script, method: str) -> None:
    pair.bad.forget(script)
    pair.good.forget(says(answer()))
    with Client(pair.balancer.port) as client:
        for _ in range(4):
            client.send(request(method))
            assert client.answer(method).status == 200
    assert len(pair.bad.requests) >= 1
    assert len(pair.good.requests) == 4


@pytest.mark.parametrize("method", UNSAFE)
def test_an_unsafe_request_that_was_sent_is_never_sent_again(pair: Pair, method: str) -> None:
    for target in (pair.bad, pair.good):
        target.forget(resets)
    for sent in range(1, 7):
        assert fetch(pair.balancer.port, request(method)).status == 502
        assert len(pair.bad.requests) + len(pair.good.requests) == sent


def test_each_post_reaches_a_target_at_most_once_whatever_the_targets_do(
    stage: Stage, balance: Balance, scale: int
) -> None:
    async def fails_often(call: Call) -> None:
        match len(call.target.requests) % 5:
            case 0:
                call.reset()
            case 1:
                call.close()
            case 2:
                await call.body()
                call.reset()
            case _:
                await call.body()
                await call.send(answer())

    targets = [stage.target(fails_often), stage.target(fails_often), stage.closed_port()]
    balancer = balance(targets, Setting(workers=2, pool=NEVER_OUT.pool))
    posts = 50 * scale
    for number in range(posts):
        with Client(balancer.port) as client:
            assert client.ask(post(b"x", path=f"/{number}")).status in {200, 502}
    paths = [path for target in targets for path in target.paths]
    assert len(paths) == len(set(paths)) == posts


def test_no_more_attempts_are_made_than_allowed(stage: Stage, balance: Balance) -> None:
    targets = [stage.target(resets) for _ in range(5)]
    balancer = balance(targets, Setting(pool=f"{NEVER_OUT.pool}\nretry.attempts = 2"))
    assert fetch(balancer.port).status == 502
    assert sum(len(target.requests) for target in targets) == 2


def test_one_attempt_is_no_retry(stage: Stage, balance: Balance) -> None:
    targets = [stage.target(resets) for _ in range(2)]
    balancer = balance(targets, Setting(pool=f"{NEVER_OUT.pool}\nretry.attempts = 1"))
    assert fetch(balancer.port).status == 502
    assert sum(len(target.requests) for target in targets) == 1


def test_a_retry_goes_to_a_target_that_was_not_tried(stage: Stage, balance: Balance) -> None:
    targets = [stage.target(resets) for _ in range(3)]
    balancer = balance(targets, NEVER_OUT)
    assert fetch(balancer.port).status == 502
    assert [len(target.requests) for target in targets] == [1, 1, 1]


def test_retries_stay_within_their_budget(stage: Stage, balance: Balance, scale: int) -> None:
    targets = [stage.target(resets) for _ in range(3)]
    balancer = balance(targets, Setting(pool=f"{NEVER_OUT.pool}\nretry.budget = 0.1"))
    requests = 100 * scale
    results = Load(balancer.port, 4).run_times(requests)
    assert set(results.statuses) == {502}
    attempts = sum(len(target.requests) for target in targets)
    # A reserve of 100 retries and 10 more each second, whatever the share is; without a budget it were two each.
    assert requests <= attempts
    if scale > 1:
        assert attempts < requests * 1.5 + 100


def test_a_timeout_is_retried_for_a_safe_request(stage: Stage, balance: Balance) -> None:
    bad, good = stage.target(hangs), stage.target()
    balancer = balance([bad, good], Setting(pool=NEVER_OUT.pool, more='[limits]\nresponse_timeout = "200ms"'))
    for _ in range(2):
        assert fetch(balancer.port).status == 200
    assert len(bad.requests) >= 1
    assert len(good.requests) == 2


def test_a_timeout_is_not_retried_for_a_post(stage: Stage, balance: Balance) -> None:
    targets = [stage.target(hangs), stage.target(hangs)]
    balancer = balance(targets, Setting(pool=NEVER_OUT.pool, more='[limits]\nresponse_timeout = "200ms"'))
    assert fetch(balancer.port, request("POST")).status == 504
    assert sum(len(target.requests) for target in targets) == 1


def test_nothing_is_retried_once_the_client_got_a_byte(stage: Stage, balance: Balance) -> None:
    script = says_and_closes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    targets = [stage.target(script), stage.target(script)]
    balancer = balance(targets, NEVER_OUT)
    with Client(balancer.port) as client:
        client.send(GET)
        assert client.head().status == 200
        assert client.rest() == b"half"
    assert sum(len(target.requests) for target in targets) == 1


def test_a_bad_status_is_an_answer_and_not_retried(stage: Stage, balance: Balance) -> None:
    targets = [stage.target(says(answer("503 Busy", b"mine"))) for _ in range(2)]
    balancer = balance(targets, NEVER_OUT)
    message = fetch(balancer.port)
    assert (message.status, message.body) == (503, b"mine")
    assert sum(len(target.requests) for target in targets) == 1


def tried_twice(balancer_port: int, bad: Target, good: Target, data: bytes) -> None:
    """Sends a request until it met the bad target first."""
    while not bad.requests:
        good.requests.clear()
        assert fetch(balancer_port, data).status == 200


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_the_body_is_sent_again_from_the_buffer(stage: Stage, balance: Balance, framing: str) -> None:
    bad, good = stage.target(resets), stage.target(echoes)
    balancer = balance([bad, good], NEVER_OUT)
    body = bytes(range(256)) * 100
    if framing == "length":
        data = post(body, method="PUT")
    else:
        data = get("/", "Transfer-Encoding: chunked").replace(b"GET", b"PUT", 1) + chunked(body[:9], body[9:])
    tried_twice(balancer.port, bad, good, data)
    assert bad.requests[0].body == good.requests[0].body == body


def test_a_body_larger_than_the_buffer_is_not_sent_again(stage: Stage, balance: Balance) -> None:
    bad, good = stage.target(resets), stage.target(echoes)
    balancer = balance([bad, good], Setting(pool=f'{NEVER_OUT.pool}\nretry.buffer = "1KiB"'))
    statuses = []
    while not bad.requests:
        statuses.append(fetch(balancer.port, post(b"x" * 5000, method="PUT")).status)
    assert statuses[-1] == 502
    assert set(statuses[:-1]) <= {200}


def test_a_large_body_finds_another_target_when_nothing_of_it_was_sent(stage: Stage, balance: Balance) -> None:
    good = stage.target(echoes)
    balancer = balance([stage.closed_port(), good], Setting(pool=f'{NEVER_OUT.pool}\nretry.buffer = "1KiB"'))
    body = b"x" * 5000
    for _ in range(4):
        assert fetch(balancer.port, post(body)).body == body


def test_a_body_that_is_still_arriving_finds_another_target(stage: Stage, balance: Balance) -> None:
    async def resets_at_once(call: Call) -> None:
        call.reset()

    bad, good = stage.target(resets_at_once), stage.target(echoes)
    balancer = balance([bad, good], NEVER_OUT)
    body = b"a" * 600
    for _ in range(2):
        with Client(balancer.port) as client:
            request_ = post(body, method="PUT")
            client.send(request_[:-300])
            eventually(lambda: good.in_flight, lambda count: count == 1)
            client.send(request_[-300:])
            assert client.answer().body == body
    assert len(bad.requests) >= 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_that_the_target_closed_while_idle_costs_no_request(
    stage: Stage, balance: Balance, method: str
) -> None:
    target = stage.target(echoes)
    balancer = balance([target])
    for round_ in range(1, 21):
        assert fetch(balancer.port, post(b"body", method=method)).body == b"body"
        target.close_idle()
        assert len(target.requests) == round_
    assert target.connections == 20

"""/metrics of a real balancer: what it counts is what was sent, and nothing is ever taken back."""

import http.client
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from equipoise.admin.metrics_reference import METRICS
from tests.scenarios.support.balancer import Balancer
from tests.scenarios.support.client import GET, Background, Client, Load, fetch, get
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Stage, Target, answer, says

Labels = frozenset[tuple[str, str]]
Samples = dict[tuple[str, Labels], float]
# Every character that names in a configuration may have.
ODD = "~a-Z_9+b@[::1]:80"
COUNTERS = ("_total", "_bucket", "_count", "_sum")


class Scraped:
    """A balancer whose metrics are read."""

    def __init__(self, balancer: Balancer) -> None:
        self.balancer = balancer
        self.port = balancer.port
        address = str(balancer.wait_for("admin API listening")["address"])
        self.admin = int(address.rpartition(":")[2])

    def get(self, **fields: str) -> tuple[int, str, str]:
        """Status, content type and text of one scrape."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=10)
        try:
            connection.request("GET", "/metrics", headers=fields)
            response = connection.getresponse()
            return response.status, response.headers["Content-Type"], response.read().decode()
        finally:
            connection.close()

    def samples(self) -> Samples:
        status, _, text = self.get()
        assert status == 200
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in parse_text(text)
            for sample in family.samples
        }

    def sum(self, name: str, **labels: str) -> float:
        """Of all series that have these labels, among others."""
        wanted = labels.items()
        return sum(
            value for (found, has), value in self.samples().items() if found == name and wanted <= dict(has).items()
        )

    def wait_for(self, wanted: float, name: str, **labels: str) -> None:
        """Returns when a sum is what it should be: workers publish their counters every 100 ms."""
        eventually(lambda: self.sum(name, **labels), lambda seen: seen == wanted)


Scrape = Callable[..., Scraped]


@pytest.fixture
def scrape(stage: Stage, tmp_path: Path) -> Iterator[Scrape]:
    """Starts balancers with an admin API, before named targets."""
    assert stage.targets == []
    with ExitStack() as balancers:

        def start(targets: dict[str, Target], workers: int = 1, admin: str = "", more: str = "") -> Scraped:
            tables = "".join(
                f'[[pools.default.targets]]\nname = "{name}"\nurl = "{target.url}"\n'
                for name, target in targets.items()
            )
            text = (
                f'listen = "127.0.0.1:0"\nworkers = {workers}\nstate_dir = "{tmp_path}/state"\n'
                f'[admin]\nlisten = "127.0.0.1:0"\n{admin}\n[access_log]\npath = "access.log"\n{tables}{more}'
            )
            return Scraped(balancers.enter_context(Balancer(tmp_path, text)))

        yield start


def test_every_metric_is_served_in_the_text_format(stage: Stage, scrape: Scrape) -> None:
    scraped = scrape({"a": stage.target()}, more="[pools.default.cache]\nenabled = true\n")
    fetch(scraped.port)
    scraped.wait_for(1, "equipoise_requests_total", target="a")
    eventually(lambda: "equipoise_mean_response_seconds{" in scraped.get()[2])
    status, content_type, text = scraped.get()
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    found = {f"{family.name}_total" if family.type == "counter" else family.name for family in parse_text(text)}
    assert found == set(METRICS)


def test_openmetrics_is_served_to_those_who_ask(stage: Stage, scrape: Scrape) -> None:
    scraped = scrape({"a": stage.target()})
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
    _, content_type, text = scraped.get(Accept=accept)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    families = {family.name for family in parse_openmetrics(text)}  # type: ignore[no-untyped-call]  # not annotated
    assert {"equipoise_requests", "equipoise_build", "equipoise_in_flight"} <= families


def test_a_token_is_asked_for_where_metrics_are_not_public(stage: Stage, scrape: Scrape) -> None:
    scraped = scrape({"a": stage.target()}, admin="metrics_public = false")
    assert scraped.get()[0] == 401


def test_counters_agree_with_what_was_sent(stage: Stage, scrape: Scrape) -> None:
    async def by_path(call: Call) -> None:
        status = {"/ok": "200 OK", "/away": "302 Found", "/no": "404 Not Found", "/broken": "500 Oops"}[
            call.request.target
        ]
        await call.send(answer(status, b"hello"))

    scraped = scrape({"a": stage.target(by_path), "b": stage.target(by_path)}, workers=2)
    paths = {"/ok": 6, "/away": 3, "/no": 4, "/broken": 2}
    for path, count in paths.items():
        for _ in range(count):
            fetch(scraped.port, get(path))
    for kind, path in (("2xx", "/ok"), ("3xx", "/away"), ("4xx", "/no"), ("5xx", "/broken")):
        scraped.wait_for(paths[path], "equipoise_requests_total", status_class=kind)
    scraped.wait_for(15, "equipoise_response_time_seconds_count")
    scraped.wait_for(15 * 5, "equipoise_sent_bytes_total")
    scraped.wait_for(15, "equipoise_worker_requests_total")
    scraped.wait_for(15, "equipoise_access_log_lines_total")
    assert scraped.sum("equipoise_own_answers_total") == 0
    # Idle ties take turns, so both have their share.
    assert min(scraped.sum("equipoise_requests_total", target=name) for name in ("a", "b")) >= 7


def test_what_the_balancer_answers_itself_is_its_own(stage: Stage, scrape: Scrape) -> None:
    scraped = scrape({"a": stage.target()})
    assert fetch(scraped.port, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").status == 400
    scraped.wait_for(1, "equipoise_own_answers_total", status_class="4xx")
    assert scraped.sum("equipoise_requests_total") == 0


def test_requests_in_flight_are_those_that_are_open(stage: Stage, scrape: Scrape) -> None:
    gate = stage.gate()

    async def waits(call: Call) -> None:
        await gate.passed()
        await call.send(answer())

    scraped = scrape({"a": stage.target(waits), "b": stage.target(waits)}, workers=2)
    clients = [Client(scraped.port).send(GET) for _ in range(10)]
    scraped.wait_for(10, "equipoise_in_flight")
    assert scraped.sum("equipoise_pool_spread", pool="default") <= 2
    scraped.wait_for(10, "equipoise_connections")
    gate.open()
    assert [client.answer().status for client in clients] == [200] * 10
    scraped.wait_for(0, "equipoise_in_flight")


def test_requests_that_wait_for_a_target_with_room_are_seen(stage: Stage, scrape: Scrape) -> None:
    gate = stage.gate()

    async def waits(call: Call) -> None:
        await gate.passed()
        await call.send(answer())

    scraped = scrape({"a": stage.target(waits)}, more="max_in_flight = 1\n")
    clients = [Client(scraped.port).send(GET) for _ in range(3)]
    scraped.wait_for(2, "equipoise_waiting_requests")
    assert scraped.sum("equipoise_in_flight") == scraped.sum("equipoise_target_max_in_flight") == 1
    gate.open()
    assert [client.answer().status for client in clients] == [200] * 3
    scraped.wait_for(0, "equipoise_waiting_requests")


def test_a_removed_target_has_its_series_until_nothing_is_in_flight_there(stage: Stage, scrape: Scrape) -> None:
    gate = stage.gate()

    async def waits(call: Call) -> None:
        await gate.passed()
        await call.send(answer())

    leaving, other = stage.target(waits), stage.target()
    scraped = scrape({"leaving": leaving, "other": leaving})
    client = Client(scraped.port).send(GET)
    scraped.wait_for(1, "equipoise_in_flight")
    text = scraped.balancer.config.read_text()
    for name in ("leaving", "other"):
        text = text.replace(f'name = "{name}"\nurl = "{leaving.url}"', f'name = "new-{name}"\nurl = "{other.url}"')
    scraped.balancer.reload(text)
    scraped.wait_for(1, "equipoise_target_state", state="draining")
    scraped.wait_for(1, "equipoise_in_flight")
    gate.open()
    assert client.answer().status == 200
    eventually(lambda: scraped.get()[2].count("equipoise_in_flight{"), lambda series: series == 2)


def test_buckets_grow_towards_infinity_and_end_at_the_count(stage: Stage, scrape: Scrape) -> None:
    scraped = scrape({"a": stage.target()})
    for _ in range(20):
        fetch(scraped.port)
    scraped.wait_for(20, "equipoise_response_time_seconds_count")
    samples = scraped.samples()
    name = "equipoise_response_time_seconds"
    buckets = sorted(
        (float(dict(has)["le"]), value) for (found, has), value in samples.items() if found == f"{name}_bucket"
    )
    counts = [count for _, count in buckets]
    assert counts == sorted(counts)
    assert counts[-1] == 20
    assert scraped.sum(f"{name}_sum") > 0


def test_a_target_that_dies_and_returns_shows_it(stage: Stage, scrape: Scrape) -> None:
    dying = stage.target()
    scraped = scrape({"a": dying, "b": stage.target()}, more='[pools.default.health]\ndown_interval = "100ms"\n')
    dying.stop()
    for _ in range(4):
        assert fetch(scraped.port).status == 200
    scraped.wait_for(1, "equipoise_ejections_total", target="a")
    assert scraped.sum("equipoise_target_up", target="a") == 0
    assert scraped.sum("equipoise_target_state", target="a", state="down") == 1
    # Until the worker hears of it, each pick of the dead one is tried again.
    eventually(lambda: 1 <= scraped.sum("equipoise_retries_total", target="a") <= 4)
    assert scraped.sum("equipoise_failures_total", target="a") == scraped.sum("equipoise_retries_total", target="a")
    dying.start()
    scraped.wait_for(1, "equipoise_target_up", target="a")
    assert scraped.sum("equipoise_ejections_total", target="a") == 1


def test_a_name_with_odd_characters_is_a_label(stage: Stage, scrape: Scrape) -> None:
    scraped = scrape({ODD: stage.target(), "a": stage.target()})
    fetch(scraped.port)
    fetch(scraped.port)
    scraped.wait_for(1, "equipoise_requests_total", target=ODD, status_class="2xx")


def test_no_counter_goes_back_when_a_worker_is_killed(stage: Stage, scrape: Scrape, scale: int) -> None:
    scraped = scrape({"a": stage.target(), "b": stage.target(says(answer("404 Not Found")))}, workers=2)
    seen: Samples = {}

    def watched(name: str) -> float:
        """A value without labels; fails when a counter is less than at the scrape before."""
        samples = scraped.samples()
        now = {series: value for series, value in samples.items() if series[0].endswith(COUNTERS)}
        assert {series: (seen[series], now.get(series)) for series in seen if now.get(series, -1) < seen[series]} == {}
        seen.update(now)
        return samples[name, frozenset()]

    with Background(Load(scraped.port, 8)) as background:
        background.wait_for(20 * scale)
        for deaths in (1, 2):
            before = watched("equipoise_worker_restarts_total")
            os.kill(scraped.balancer.workers[0], signal.SIGKILL)
            eventually(lambda: watched("equipoise_worker_restarts_total"), before.__lt__)
            eventually(lambda: watched("equipoise_workers"), lambda alive: alive == 2)
            background.wait_for(20 * scale)
            assert watched("equipoise_worker_restarts_total") == deaths
    scraped.wait_for(0, "equipoise_in_flight")
    watched("equipoise_workers")


def test_every_worker_says_which_configuration_it_acts_on(stage: Stage, scrape: Scrape) -> None:
    scraped = scrape({"a": stage.target()}, workers=2)
    assert scraped.sum("equipoise_config_version") == 1
    assert scraped.sum("equipoise_worker_config_version") == 2
    text = scraped.balancer.config.read_text()
    scraped.balancer.reload(text.replace("[access_log]", '[limits]\nhead_timeout = "9s"\n[access_log]'))
    scraped.wait_for(2, "equipoise_config_version")
    scraped.wait_for(4, "equipoise_worker_config_version")

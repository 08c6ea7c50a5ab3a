from datetime import UTC, datetime
from typing import Any

import pytest

from equipoise.cli.answers import Status, read
from equipoise.cli.show import ASCII, UNICODE
from equipoise.cli.top_samples import Lost, Sample, Trail
from equipoise.cli.top_view import ORDERS, Picture, block, draw, event_line
from tests.support.admin_api import status, target

WALL = datetime(2026, 7, 30, 12, 5, 0, tzinfo=UTC)
EVENTS = (
    {"id": 1, "kind": "worker", "time": "2026-07-30T12:04:00Z", "pid": 4240, "row": 0, "event": "died"},
    {"id": 2, "kind": "change", "time": "2026-07-30T12:04:30Z", "version": 7, "what": "target d added to pool default"},
    {
        "id": 3,
        "kind": "flip",
        "time": "2026-07-30T12:04:55Z",
        "pool": "default",
        "target": "10.0.0.3:9001",
        "from": "up",
        "to": "down",
        "reason": "connect failed",
    },
)


def busy(at: int) -> dict[str, Any]:
    """Four targets of two pools, one of them down."""
    down = {"health": "down", "reason": "connect failed: refused", "since": "2026-07-30T12:04:55Z"}
    data = status(
        default=[
            target("10.0.0.1:9001", in_flight=20, requests=1200 * at, mean_response_ms=98.16),
            target("10.0.0.2:9001", in_flight=10 if at < 90 else 5, requests=13 * at, mean_response_ms=4.2),
            target("10.0.0.3:9001", **down),
        ],
        images=[target("images-eu-west.example.internal:8080", health="draining", in_flight=2)],
    )
    workers = [{"row": row, "pid": 4242 + row, "connections": 10, "requests": 600 * at} for row in range(2)]
    return {**data, "uptime_s": 273_600.0 + at, "workers": workers}


def sample(at: int, data: dict[str, Any] | None = None) -> Sample:
    return Sample(read(data or busy(at), Status), float(at), WALL, EVENTS)


def picture(**changes: Any) -> Picture:
    """After a minute of looks."""
    samples = [sample(at) for at in range(60, 121)]
    fields: dict[str, Any] = {
        "now": samples[-1],
        "before": samples[-2],
        "trail": Trail(samples),
        "address": "http://127.0.0.1:8081",
    }
    return Picture(**{**fields, **changes})


def crowd(count: int, **more: Any) -> Picture:
    """One pool of many targets; the higher the number, the busier."""
    targets = [target(f"t{number:02}", in_flight=number, **more) for number in range(count)]
    now = sample(1, {**status(default=targets), "workers": [{"pid": pid} for pid in range(100, 164)]})
    return picture(now=now, before=None, trail=Trail([now]))


def lines(shown: Picture, width: int = 80, height: int = 24) -> list[str]:
    return [line.plain.rstrip() for line in draw(shown, width, height, UNICODE)]


SCREEN = """\
equipoise  compiled  up 3d 4h  configuration 7  2 workers
1,200 requests/s  27 in flight  spread 1         http://127.0.0.1:8081  12:05:00
  target               health       in flight            req/s mean ms 1 minute
pool default  least_in_flight  spread 1  1,213/s  2 of 3 up
● 10.0.0.1:9001        up 5m            20 ━━━━━━━━━━    1,200    98.2 █████████
● 10.0.0.2:9001        up 5m             5 ━━────────     13.0     4.2 ▅▅▅▅▅▃▃▃▃
✗ 10.0.0.3:9001        down 5s           0 connect failed: refused
pool images  least_in_flight  spread 1  0/s  0 of 1 up
◐ images-eu…ernal:8080 draining 5m       2 ━─────────        0       - ▂▂▂▂▂▂▂▂▂

worker 4242        10 conn     600/s    worker 4243        10 conn     600/s

12:04:55  default/10.0.0.3:9001 up → down  connect failed
12:04:30  configuration 7: target d added to pool default
12:04:00  worker 4240 died








q leave  p next pool  s sort: as configured"""


def test_80_cells_by_24_lines() -> None:
    assert "\n".join(lines(picture())) == SCREEN


@pytest.mark.parametrize("size", [(80, 24), (200, 60), (40, 10), (20, 3), (10, 1), (1, 1), (80, 0)])
@pytest.mark.parametrize("many", [0, 1, 200])
def test_a_screen_of_any_size_is_filled_and_never_overflows(size: tuple[int, int], many: int) -> None:
    width, height = size
    drawn = draw(crowd(many) if many else picture(), width, height, UNICODE)
    assert len(drawn) == height
    assert max((line.cell_len for line in drawn), default=0) <= width


def test_a_screen_without_unicode_is_ascii() -> None:
    assert "".join(line.plain for line in draw(picture(), 80, 24, ASCII)).isascii()


def test_a_wide_screen_has_longer_bars_and_names() -> None:
    wide = lines(picture(), 160)
    assert wide[4].count("━") > 30
    assert "images-eu-west.example.internal:8080" in wide[8]


def test_with_too_many_targets_the_unwell_and_the_busiest_are_shown() -> None:
    targets = [target(f"t{number}", in_flight=number) for number in range(30)]
    targets[0] |= {"health": "down", "reason": "gone"}
    now = sample(1, status(default=targets))
    shown = lines(picture(now=now, before=None, trail=Trail([now])), 80, 14)
    names = [line.split()[1] for line in shown if line.startswith(("●", "✗"))]
    assert names == ["t0", "t25", "t26", "t27", "t28", "t29"]
    assert "  +24 more, 300 in flight" in shown


def test_what_is_left_out_is_told_when_it_is_unwell() -> None:
    assert any("not up" in line for line in lines(crowd(40, health="down")))


def test_with_too_many_workers_the_rest_is_counted() -> None:
    assert any(line.endswith("+59 more") for line in lines(crowd(3)))


def test_with_too_many_pools_the_rest_is_counted() -> None:
    now = sample(1, status(**{f"p{number:02}": [target("a")] for number in range(40)}))
    shown = lines(picture(now=now, before=None, trail=Trail([now])))
    assert [line for line in shown if line.startswith("+")] == ["+27 more pools"]


def test_another_pool_can_stand_first() -> None:
    shown = lines(picture(first=3))
    assert [line.split()[1] for line in shown if line.startswith("pool ")] == ["images", "default"]


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("as configured", "abc"),
        ("in flight", "cab"),
        ("requests/s", "bca"),
        ("mean ms", "acb"),
        ("name", "abc"),
    ],
)
def test_targets_are_sorted_by_what_was_chosen(order: str, names: str) -> None:
    def data(at: int) -> dict[str, Any]:
        return status(
            default=[
                target("a", in_flight=2, requests=0, mean_response_ms=9.0),
                target("b", in_flight=1, requests=9 * at, mean_response_ms=1.0),
                target("c", in_flight=3, requests=5 * at, mean_response_ms=5.0),
            ]
        )

    before, now = sample(1, data(1)), sample(2, data(2))
    shown = lines(picture(now=now, before=before, trail=Trail([now]), order=order))
    assert "".join(line.split()[1] for line in shown if line.startswith("●")) == names
    assert shown[-1].endswith(f"s sort: {order}")


def test_every_order_is_known() -> None:
    assert len(set(ORDERS)) == 5


def test_a_balancer_that_is_gone_is_told_and_the_last_look_stays() -> None:
    lost = Lost(datetime(2026, 7, 30, 12, 6, 7, tzinfo=UTC), "Connection refused")
    shown = lines(picture(lost=lost))
    assert shown[1] == "not reachable since 12:06:07: Connection refused"
    assert any("10.0.0.1:9001" in line for line in shown)


def test_a_first_look_has_no_rates() -> None:
    shown = lines(picture(before=None))
    assert shown[1].startswith("- requests/s  27 in flight")


def test_requests_that_wait_for_a_target_are_told() -> None:
    now = sample(1, {**status(), "workers": [{"pid": 1, "waiting": 3}, {"pid": 2, "waiting": 4}]})
    assert "spread 0  7 waiting" in lines(picture(now=now, before=None))[1]


def test_a_full_target_stands_out() -> None:
    now = sample(1, status(default=[target("a", in_flight=5, max_in_flight=5)]))
    row = draw(picture(now=now, before=None, trail=Trail([now])), 80, 24, UNICODE)[4]
    assert "yellow" in {str(span.style) for span in row.spans}


def test_a_balancer_without_pools_can_be_drawn() -> None:
    now = sample(1, status())
    assert lines(picture(now=now, before=None, trail=Trail()))[1].startswith("- requests/s  0 in flight  spread 0")


def test_times_of_events_are_those_of_the_viewer() -> None:
    wall = datetime.fromisoformat("2026-07-30T14:05:00+02:00")
    line = event_line(EVENTS[0], wall, UNICODE)
    assert line is not None
    assert line.plain == "14:04:00  worker 4240 died"


@pytest.mark.parametrize("event", [{}, {"kind": "status"}, {"kind": "flip"}, {"kind": "else", "time": "x"}])
def test_an_event_of_another_kind_is_passed_over(event: dict[str, object]) -> None:
    assert event_line(event, WALL, UNICODE) is None


def test_a_block_is_a_line_for_all_and_one_for_each_target() -> None:
    stamp = "2026-07-30T12:05:00+00:00"
    name = "images-eu-west.example.internal:8080"
    assert block(picture()).splitlines() == [
        f"{stamp} configuration=7 uptime=273720s workers=2 requests/s=1200.0 in_flight=27",
        f"{stamp} pool=default target=10.0.0.1:9001 health=up in_flight=20 requests/s=1200.0 mean_ms=98.2 spread=1",
        f"{stamp} pool=default target=10.0.0.2:9001 health=up in_flight=5 requests/s=13.0 mean_ms=4.2 spread=1",
        f"{stamp} pool=default target=10.0.0.3:9001 health=down in_flight=0 requests/s=0.0 mean_ms=- spread=1",
        f"{stamp} pool=images target={name} health=draining in_flight=2 requests/s=0.0 mean_ms=- spread=1",
    ]


def test_a_block_of_a_balancer_that_is_gone_is_one_line() -> None:
    assert block(picture(lost=Lost(WALL, "Connection refused"))) == (
        "not reachable since 2026-07-30T12:05:00+00:00: Connection refused"
    )

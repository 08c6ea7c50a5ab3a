import io
import json

from rich.console import Console

from equipoise.cli.answers import Status, read
from equipoise.cli.status import show
from tests.support.admin_api import ScriptedApi, status, target
from tests.unit.cli.conftest import Run

DOWN = target("b", health="down", reason="connect failed", requests=1200, failures=3, mean_response_ms=4.25)


def test_every_target_is_a_line_of_plain_columns(api: ScriptedApi, run: Run) -> None:
    api.says("GET /v1/status", status(default=[target("a", in_flight=3), DOWN]))
    result = run("status")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "equipoise: compiled, up 12s, configuration 7, 1 worker",
        "",
        "pool default: least_in_flight, spread 1, 1 of 2 up",
        "target  health  in flight  weight  requests  failures  mean ms  since  reason",
        "a       up              3       1         0         0        -  5m     -",
        "b       down            0       1      1200         3      4.2  5m     connect failed",
        "",
        "worker 4242: 10 connections",
    ]


def test_json_is_the_answer_as_it_is(api: ScriptedApi, run: Run) -> None:
    answer = b'{"version": 7, "pools": {}, "more": [1, 2]}'
    api.says("GET /v1/status", answer)
    assert run("status", "--json").stdout == answer.decode() + "\n"


def test_a_pool_without_targets_says_so(api: ScriptedApi, run: Run) -> None:
    api.says("GET /v1/status", status(empty=[]))
    assert "pool empty: least_in_flight, spread 1, 0 of 0 up\nno targets\n" in run("status").stdout


def drawn(width: int, encoding: str = "utf-8") -> list[str]:
    found = read(status(default=[target("a", in_flight=30), target("c", in_flight=3, max_in_flight=4), DOWN]), Status)
    out = io.TextIOWrapper(io.BytesIO(), encoding)
    show(Console(file=out, width=width, force_terminal=True, color_system=None), found)
    out.seek(0)
    return out.read().splitlines()


def test_on_a_terminal_health_has_a_symbol_and_load_a_bar() -> None:
    rows = drawn(120)[4:7]
    assert [row.split("  ")[0].split()[0] for row in rows] == ["a", "c", "b"]
    assert "● up" in rows[0]
    assert f"{'━' * 16} 30" in rows[0]
    assert "━━────────────── 3/4" in rows[1]
    assert "✗ down" in rows[2]


def test_a_terminal_without_unicode_gets_other_marks() -> None:
    assert "################ 30" in drawn(120, "latin-1")[4]


def test_on_a_narrow_terminal_nothing_is_lost() -> None:
    lines = drawn(80)
    assert max(len(line) for line in lines) <= 80
    assert lines[6].split()[:3] == ["b", "✗", "down"]
    assert lines[6].split()[-4:] == ["1,200", "3", "4.2", "5m"]


def test_on_a_terminal_a_reason_has_a_line_of_its_own() -> None:
    assert drawn(80)[7] == "b: connect failed"


def test_requests_that_wait_for_a_target_are_told(api: ScriptedApi, run: Run) -> None:
    api.says("GET /v1/status", {**status(), "workers": [{"pid": 1, "connections": 1, "waiting": 1}]})
    assert run("status").stdout.endswith("worker 1: 1 connection, 1 request waiting for a target\n")


def test_a_balancer_that_drains_says_so(api: ScriptedApi, run: Run) -> None:
    api.says("GET /v1/status", {**status(), "draining": True})
    assert run("status").stdout.startswith("equipoise: compiled, up 12s, configuration 7, 1 worker, draining\n")


def test_an_answer_of_another_kind_is_told(api: ScriptedApi, run: Run) -> None:
    api.says("GET /v1/status", json.dumps({"hello": 1}).encode())
    result = run("status")
    assert result.exit_code == 1
    assert "does not understand" in result.stderr

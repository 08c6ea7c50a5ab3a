import json

from equipoise.cli.answers import Difference
from equipoise.cli.config import in_one_line
from tests.support.admin_api import ScriptedApi
from tests.unit.cli.conftest import Run

DIFFERENCES = "GET /v1/config/differences"


def test_the_configuration_is_printed_as_json(api: ScriptedApi, run: Run) -> None:
    api.says("GET /v1/config", {"version": 7, "config": {"listen": ["0.0.0.0:8080"]}})
    assert json.loads(run("config").stdout) == {"listen": ["0.0.0.0:8080"]}


def test_json_is_the_answer_with_its_version(api: ScriptedApi, run: Run) -> None:
    api.says("GET /v1/config", b'{"version":7,"config":{}}')
    assert run("config", "--json").stdout == '{"version":7,"config":{}}\n'


def test_no_difference_is_silence_and_0(api: ScriptedApi, run: Run) -> None:
    api.says(DIFFERENCES, {"version": 7, "differences": []})
    result = run("config", "--diff")
    assert (result.exit_code, result.stdout) == (0, "")


def test_each_difference_is_a_line_and_the_code_is_1(api: ScriptedApi, run: Run) -> None:
    found = [
        {"place": "pools.default.algorithm", "file": "random", "running": "round_robin"},
        {"place": "pools.default.targets[2]", "file": None, "running": {"url": "http://a"}},
    ]
    api.says(DIFFERENCES, {"version": 7, "differences": found})
    result = run("config", "--diff")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        'pools.default.algorithm: "random" in the file, "round_robin" running',
        'pools.default.targets[2]: nothing in the file, {"url": "http://a"} running',
    ]


def test_json_and_diff_keep_the_exit_code(api: ScriptedApi, run: Run) -> None:
    api.says(DIFFERENCES, b'{"version":7,"differences":[{"place":"a","file":1,"running":2}]}')
    result = run("config", "--diff", "--json")
    assert (result.exit_code, json.loads(result.stdout)["version"]) == (1, 7)


def test_a_comparison_that_failed_is_2_as_with_diff(api: ScriptedApi, run: Run) -> None:
    api.refuses(DIFFERENCES, 401, "token expired")
    result = run("config", "--diff")
    assert (result.exit_code, result.stdout) == (2, "")


def test_other_failures_are_1(api: ScriptedApi, run: Run) -> None:
    api.refuses("GET /v1/config", 403, "no")
    assert run("config").exit_code == 1


def test_what_only_the_file_has_is_told_so() -> None:
    assert in_one_line(Difference("a", file=3)) == "a: 3 in the file, nothing running"

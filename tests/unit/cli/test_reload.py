from tests.support.admin_api import ScriptedApi
from tests.unit.cli.conftest import Run


def test_what_has_changed_is_a_new_version(api: ScriptedApi, run: Run) -> None:
    api.says("POST /v1/reload", {"version": 8, "changed": True})
    assert run("reload").stdout == "reloaded (configuration 8)\n"


def test_a_file_that_says_the_same_is_told(api: ScriptedApi, run: Run) -> None:
    api.says("POST /v1/reload", {"version": 7, "changed": False})
    assert run("reload").stdout == "reloaded; nothing has changed (configuration 7)\n"


def test_json_is_the_answer_as_it_is(api: ScriptedApi, run: Run) -> None:
    api.says("POST /v1/reload", b'{"version":8,"changed":true}')
    assert run("reload", "--json").stdout == '{"version":8,"changed":true}\n'


def test_each_problem_of_a_bad_file_is_a_line(api: ScriptedApi, run: Run) -> None:
    api.refuses("POST /v1/reload", 422, "bad", ("pools.default.weight", "unknown key"), ("listen", "is missing"))
    result = run("reload")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "equipoise reload: pools.default.weight: unknown key",
        "equipoise reload: listen: is missing",
    ]

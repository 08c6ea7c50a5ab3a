from tests.support.admin_api import ScriptedApi
from tests.unit.cli.conftest import Run


def test_it_says_who_has_taken_over(api: ScriptedApi, run: Run) -> None:
    api.says("POST /v1/upgrade", {"version": 8, "pid": 20, "before": 10})
    assert run("upgrade").stdout == "process 20 has taken over from 10 (configuration 8)\n"


def test_json_is_the_answer_as_it_is(api: ScriptedApi, run: Run) -> None:
    api.says("POST /v1/upgrade", b'{"version":8,"pid":20,"before":10}')
    assert run("upgrade", "--json").stdout == '{"version":8,"pid":20,"before":10}\n'


def test_a_new_process_that_cannot_start_is_exit_code_1_with_the_reason(api: ScriptedApi, run: Run) -> None:
    api.refuses("POST /v1/upgrade", 409, "the new process cannot start: listen: is missing")
    result = run("upgrade")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "equipoise upgrade: the new process cannot start: listen: is missing\n"

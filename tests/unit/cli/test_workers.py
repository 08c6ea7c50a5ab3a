from tests.support.admin_api import ScriptedApi
from tests.unit.cli.conftest import Run

CALL = "POST /v1/workers/replace"


def test_each_replaced_worker_is_a_line(api: ScriptedApi, run: Run) -> None:
    api.says(CALL, {"version": 8, "workers": [{"before": 1, "pid": 3}, {"before": 2, "pid": 4}]})
    said = "worker 3 has taken over from 1\nworker 4 has taken over from 2\n"
    assert run("workers", "replace").stdout == said


def test_json_is_the_answer_as_it_is(api: ScriptedApi, run: Run) -> None:
    api.says(CALL, b'{"version":8,"workers":[]}')
    assert run("workers", "replace", "--json").stdout == '{"version":8,"workers":[]}\n'


def test_a_worker_that_cannot_be_replaced_is_exit_code_1(api: ScriptedApi, run: Run) -> None:
    api.refuses(CALL, 409, "the new worker cannot take over from 7: it died before it was ready")
    result = run("workers", "replace")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot take over from 7" in result.stderr


def test_the_group_alone_is_wrong_usage(run: Run) -> None:
    assert run("workers").exit_code == 2

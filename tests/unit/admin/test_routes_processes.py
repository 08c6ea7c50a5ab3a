import pytest

from equipoise.runtime.changes import ChangeRefusedError
from tests.unit.admin.parts import Api

CALLS = ["/v1/upgrade", "/v1/workers/replace"]


def test_an_upgrade_says_which_process_has_taken_over(api: Api) -> None:
    answer = api.ask("POST", "/v1/upgrade")
    assert (answer.status, answer.json, answer.get("etag")) == (200, {"version": 1, "pid": 2, "before": 1}, '"1"')


def test_replaced_workers_are_listed_with_their_successors(api: Api) -> None:
    answer = api.ask("POST", "/v1/workers/replace")
    assert (answer.status, answer.json) == (200, {"version": 1, "workers": [{"before": 1, "pid": 2}]})


@pytest.mark.parametrize("call", CALLS)
def test_what_cannot_be_done_is_a_conflict_that_says_why(api: Api, call: str) -> None:
    api.board.failure = ChangeRefusedError("an upgrade is under way")
    answer = api.ask("POST", call)
    assert (answer.status, answer.detail) == (409, "an upgrade is under way")


@pytest.mark.parametrize("call", CALLS)
def test_whoever_may_only_read_replaces_nothing(api: Api, call: str) -> None:
    assert api.ask("POST", call, role="read").status == 403
    assert api.ask("POST", call, role="").status == 401

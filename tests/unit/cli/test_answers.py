import pytest

from equipoise.cli.answers import Status, StrangeAnswerError, read
from tests.support.admin_api import status, target


def test_a_status_is_read_whatever_else_it_holds() -> None:
    found = read({**status(default=[target("a", in_flight=3)]), "new": 1}, Status)
    assert (found.version, found.pools["default"].targets[0].in_flight) == (7, 3)


def test_what_an_older_balancer_leaves_out_has_a_default() -> None:
    assert read({"version": 1, "pools": {}}, Status).workers == ()


@pytest.mark.parametrize("data", [{}, {"version": "x", "pools": {}}, {"version": 1, "pools": []}])
def test_an_answer_of_another_shape_is_an_error(data: dict[str, object]) -> None:
    with pytest.raises(StrangeAnswerError):
        read(data, Status)

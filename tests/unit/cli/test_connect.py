from pathlib import Path

import pytest
import typer

from equipoise.cli.access import Access
from equipoise.cli.answers import StrangeAnswerError
from equipoise.cli.client import Refused, Unreachable
from equipoise.cli.connect import Command, connect, explained
from equipoise.cli.options import CommandError
from tests.support.admin_api import ScriptedApi

ACCESS = Access("http://h:1", "--admin", lambda: "t")
MAKE = "`equipoise token` makes one where the balancer runs"
WITHOUT = Access("http://h:1", "--admin", str, "there is no secret")


@pytest.mark.parametrize(
    ("error", "access", "line"),
    [
        (
            Unreachable("Connection refused"),
            ACCESS,
            "cannot reach http://h:1 (--admin): Connection refused; is the balancer running?",
        ),
        (
            Refused(401, "token expired"),
            ACCESS,
            f"the token was refused: token expired; {MAKE}",
        ),
        (
            Refused(401, "no token"),
            WITHOUT,
            f"a token is needed: give one with --token or EQUIPOISE_TOKEN; {MAKE} (there is no secret)",
        ),
        (
            Refused(403, "admin is needed"),
            ACCESS,
            "the token does not allow this: admin is needed; `equipoise token --role admin` makes one that does",
        ),
        (Refused(404, "there is no target d"), ACCESS, "there is no target d"),
        (Refused(409, "d is there already"), ACCESS, "d is there already"),
        (Refused(412, "the version is 8"), ACCESS, "the version is 8"),
        (Refused(422, "not JSON"), ACCESS, "not JSON"),
        (Refused(500, "it broke"), ACCESS, "http://h:1 failed: it broke"),
        (
            StrangeAnswerError("no version"),
            ACCESS,
            "http://h:1 (--admin) answers what this version does not understand: no version",
        ),
    ],
)
def test_each_failure_is_one_line_that_says_what_to_do(
    error: Unreachable | Refused | StrangeAnswerError, access: Access, line: str
) -> None:
    assert explained(error, access) == [line]


def test_of_invalid_values_each_place_has_a_line() -> None:
    error = Refused(422, "invalid", (("weight", "must be from 1 to 1000"), ("", "is no object")))
    assert explained(error, ACCESS) == ["weight: must be from 1 to 1000", "is no object"]


def end_of(command: Command, admin: str, error: Exception) -> int:
    try:
        with connect(command, Path("none.toml"), admin, "t"):
            raise error
    except typer.Exit as end:
        return int(end.exit_code)


def test_a_failure_goes_to_standard_error_under_the_commands_name(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end_of(Command("reload"), api.url, Refused(409, "not now")) == 1
    assert capsys.readouterr() == ("", "equipoise reload: not now\n")


def test_a_command_may_have_a_code_of_its_own_for_failures(api: ScriptedApi) -> None:
    assert end_of(Command("config", failed=2), api.url, Unreachable("gone")) == 2


def test_what_a_command_cannot_do_ends_with_the_code_that_says_so(api: ScriptedApi) -> None:
    assert end_of(Command("targets"), api.url, CommandError("which pool?", 2)) == 2


def test_an_address_that_is_none_is_wrong_usage() -> None:
    assert end_of(Command("status"), "ftp://x", AssertionError("it got so far")) == 2


def test_the_client_is_handed_out_with_the_access(api: ScriptedApi) -> None:
    with connect(Command("status"), Path("none.toml"), api.url, "t") as client:
        assert client.get("status").data["version"] == 7
    assert api.calls[0].fields["authorization"] == "Bearer t"

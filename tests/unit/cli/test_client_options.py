import re

import pytest
from typer.testing import CliRunner

from equipoise.cli.app import app
from equipoise.cli.reference import commands

CLIENTS = {
    "status",
    "top",
    "algorithm",
    "config",
    "reload",
    *(f"targets {each}" for each in ("list", "add", "remove", "drain", "enable", "set")),
}


@pytest.mark.parametrize("name", sorted(CLIENTS))
def test_every_client_takes_address_token_file_and_json(name: str) -> None:
    (command,) = [command for command in commands() if command.name == name]
    known = {each for option in command.options for each in option.names}
    assert {"--admin", "--token", "--config", "--json"} <= known


@pytest.mark.parametrize(
    "words", [["--weight", "0"], ["--weight", "1001"], ["--max-in-flight", "-1"], ["--weight", "many"]]
)
def test_a_setting_out_of_range_is_wrong_usage(words: list[str]) -> None:
    result = CliRunner().invoke(app, ["targets", "set", "a", *words])
    assert result.exit_code == 2
    assert words[0] in re.sub(r"\x1b\[[0-9;]*m", "", result.stderr)

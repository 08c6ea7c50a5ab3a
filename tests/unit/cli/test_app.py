import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import equipoise
from equipoise.cli.app import app
from equipoise.cli.reference import commands


def test_help_names_every_command() -> None:
    output = CliRunner().invoke(app, ["--help"]).output
    assert [command.name for command in commands() if command.name.split(" ")[0] not in output] == []


@pytest.mark.parametrize("command", [command.name for command in commands()])
def test_every_command_has_help(command: str) -> None:
    assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0


def test_the_version_says_whether_it_is_compiled(compiled: bool) -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.output == f"equipoise {equipoise.__version__} ({'compiled' if compiled else 'interpreted'})\n"


def test_an_unknown_command_is_wrong_usage() -> None:
    assert CliRunner().invoke(app, ["walk"]).exit_code == 2


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["run", "--help"], ["targets", "set", "--help"], ["top", "--help"]]
)
def test_help_loads_neither_the_data_path_nor_the_configuration(arguments: list[str]) -> None:
    text = (
        "import sys\nfrom equipoise.cli.app import app\n"
        f"app({arguments!r}, standalone_mode=False)\n"
        "heavy = {'asyncio', 'uvloop', 'msgspec', 'orjson', 'structlog', 'equipoise.model'} & sys.modules.keys()\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_python_m_equipoise_is_the_same() -> None:
    command = [sys.executable, "-m", "equipoise", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30, env=dict(os.environ))
    assert done.stdout == CliRunner().invoke(app, ["--version"]).output


def test_compiled_is_found_without_loading_the_data_path() -> None:
    text = (
        "import sys\nfrom equipoise.cli.app import compiled\ncompiled()\n"
        "sys.exit('equipoise.proxy.exchange' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", text], check=False, timeout=30).returncode == 0

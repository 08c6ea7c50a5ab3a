import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from equipoise.cli.app import app
from equipoise.cli.reference import commands, page

ROOT = Path(__file__).parents[3]
WIDE = {"COLUMNS": "300", "TERM": "dumb"}


def test_the_page_in_the_repository_is_current() -> None:
    committed = (ROOT / "docs/reference/cli.md").read_text()
    assert committed == page(), "run: python -m equipoise.cli.reference > docs/reference/cli.md"


@pytest.mark.parametrize(
    "row",
    [
        "| `--config`, `-c` | file | `$EQUIPOISE_CONFIG`, then `equipoise.toml` |",
        "| `--port` | whole number from 0 to 65535 | required |",
        "| `--kill-at` | seconds | a third of the time |",
        "| `--jitter` | `none`, `uniform`, `lognormal` | `none` |",
        "| `--reuse-port` |  |  |",
        "| `--version` |  |  |",
        "| `--show-completion` |  |  |",
        "| `NAME` | name | required | Name of the target. |",
        "| `NAME` | name |  | The algorithm to switch to. |",
        "| `--pool` | name | the only one |",
        "| `--admin` | URL | `$EQUIPOISE_ADMIN`, then the file's `[admin] listen` |",
        "## `equipoise targets set`",
        "## `equipoise target`",
    ],
)
def test_the_page_says_what_an_option_takes_and_its_default(row: str) -> None:
    assert row in page()


def test_the_page_and_the_help_name_the_same_options() -> None:
    for command in commands():
        words = command.name.split()
        output = CliRunner().invoke(app, [*words, "--help"], env=WIDE).output
        shown = {word.strip("│,") for word in output.split() if word.startswith("--")}
        named = {name for option in command.options for name in option.names if name.startswith("--")}
        assert shown == named | {"--help"}, command.name


def test_the_module_prints_the_page() -> None:
    command = [sys.executable, "-m", "equipoise.cli.reference"]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout == page()

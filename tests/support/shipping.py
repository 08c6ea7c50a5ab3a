"""The files that ship Equipoise, read as the tools that use them read them.

Owns: YAML, Compose's and GitLab's variables, and what a command line of ours may say.
Refuses to know: what any of the files should say.
"""

import importlib
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typer.main import get_command

from equipoise.cli.app import app

ROOT = Path(__file__).parents[2]
_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?::-([^}]*))?\}|(\w+))")


def documents(path: Path) -> list[Any]:
    """The YAML documents of a file."""
    # It comes with the tools of the tests; it has no types, so it is not imported by name.
    return list(importlib.import_module("yaml").safe_load_all(path.read_text()))


def compose(name: str, environment: Mapping[str, str] | None = None) -> Any:
    """A Compose file with its variables filled in."""
    return _filled(documents(ROOT / name)[0], environment or {})


def _filled(value: Any, environment: Mapping[str, str]) -> Any:
    match value:
        case str():
            return _VARIABLE.sub(lambda match: _value(match, environment), value)
        case list():
            return [_filled(item, environment) for item in value]
        case dict():
            return {key: _filled(item, environment) for key, item in value.items()}
        case _:
            return value


def _value(match: "re.Match[str]", environment: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    found = environment.get(match[1] or match[3]) or match[2]
    assert found is not None, f"{match[0]} has no value and no default"
    return found


def usage_error(words: list[str]) -> str | None:
    """What is wrong with a command line of `equipoise`, as the command line itself says it; nothing runs."""
    command: Any = get_command(app)
    rest = list(words)
    while hasattr(command, "commands"):
        name = rest.pop(0) if rest else ""
        if name not in command.commands:
            return f"no command {name!r}"
        command = command.commands[name]
    try:
        command.make_context(command.name, rest)
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's own have it; anything else is a defect
            raise
        return str(error.format_message())
    return None


def run_tool(name: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Runs a program that came with the tools of the tests."""
    path = Path(sys.executable).parent / name
    return subprocess.run([str(path), *words], capture_output=True, text=True, timeout=50, check=False)

"""What several commands share.

Owns: where the configuration file is looked for, and how its problems are shown; exit codes.
Refuses to know: what a command does with it; what only those share that talk to the admin API (`client_options`).
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from equipoise.config.problems import Problem

FAILED = 1
WRONG_USAGE = 2
DEFAULT_CONFIG = Path("equipoise.toml")

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", metavar="FILE", envvar="EQUIPOISE_CONFIG", help="The configuration file."),
]


class CommandError(Exception):
    """A command cannot do what it was asked; the text says why, the code is that of the exit."""

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.code = code


def print_problems(problems: "Iterable[Problem]", path: Path) -> None:
    """Each problem on a line of standard error; one that concerns the whole file begins with the file's name."""
    for problem in problems:
        line = f" (line {problem.line})" if problem.line is not None else ""
        typer.echo(f"{problem.path or path}{line}: {problem.message}", err=True)


def allow_own_modules() -> None:
    """Let `"python:module:Class"` find modules in the current directory, as `python -m` does and a script does not."""
    if "" not in sys.path and os.getcwd() not in sys.path:  # noqa: PTH109  sys.path holds strings
        sys.path.append(os.getcwd())  # noqa: PTH109

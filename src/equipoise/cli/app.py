"""The command line.

Owns: the list of commands, and `--version`.
Refuses to know: what the commands do. Each imports its heavy parts when it runs, so that `--help` answers at once.
"""

import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Annotated, Final

import typer

from equipoise import __version__
from equipoise.cli.algorithm import algorithm
from equipoise.cli.cache import cache
from equipoise.cli.check import check
from equipoise.cli.completion import rejoin_words
from equipoise.cli.config import config
from equipoise.cli.demo import demo
from equipoise.cli.healthcheck import healthcheck
from equipoise.cli.reload import reload
from equipoise.cli.run import run
from equipoise.cli.status import status
from equipoise.cli.target import target
from equipoise.cli.targets import targets
from equipoise.cli.token import token
from equipoise.cli.top import top
from equipoise.cli.upgrade import upgrade
from equipoise.cli.workers import workers

app = typer.Typer(
    name="equipoise",
    help="An HTTP and gRPC load balancer that keeps the requests in flight equal over its targets.",
    # As people read it: a line break of a docstring is none of the paragraph.
    rich_markup_mode="markdown",
    no_args_is_help=True,
    # The pretty ones print local variables, and those may hold secrets.
    pretty_exceptions_enable=False,
)
# The parts of `equipoise --help`.
_PARTS: Final[Mapping[str, tuple[Callable[..., None] | typer.Typer, ...]]] = {
    "Run a balancer": (run, check, token, healthcheck),
    "See and change one that runs": (status, top, targets, algorithm, cache, config, reload, upgrade, workers),
    "Try it out": (demo, target),
}
for part, commands in _PARTS.items():
    for command in commands:
        if isinstance(command, typer.Typer):
            app.add_typer(command, rich_help_panel=part)
        else:
            app.command(rich_help_panel=part)(command)


def main() -> None:
    """What the installed script `equipoise` calls."""
    rejoin_words(os.environ)
    app(prog_name="equipoise")


def compiled() -> bool:
    """Whether the data path is compiled; looks for its file and does not load it."""
    spec = find_spec("equipoise.proxy.exchange")
    return spec is not None and spec.origin is not None and spec.origin.endswith(".so")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"equipoise {__version__} ({'compiled' if compiled() else 'interpreted'})")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """What stands before a command."""

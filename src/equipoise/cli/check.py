"""`equipoise check`: is the configuration good?

Owns: the command's options, its one line of summary and its exit code.
Refuses to know: what is good (config).
"""

from typing import TYPE_CHECKING

import typer

from equipoise.cli.options import DEFAULT_CONFIG, WRONG_USAGE, ConfigOption, allow_own_modules, print_problems

if TYPE_CHECKING:
    from equipoise.config.schema import Config


def check(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Reads the configuration and prints every problem with its place.

    Exit code 0 when it is good, 2 when it is not.
    """
    from equipoise.config.load import ConfigError, load
    from equipoise.config.world import listen_addresses
    from equipoise.runtime.tls_files import Reading

    allow_own_modules()
    reading = Reading()
    try:
        found = load(config, examine=reading.examine)
    except ConfigError as error:
        print_problems(error.problems, config)
        raise typer.Exit(WRONG_USAGE) from None
    if found.admin.enabled and (problem := _key_problem(found)):
        typer.echo(f"admin.jwt: {problem}", err=True)
        raise typer.Exit(WRONG_USAGE)
    for warning in reading.material.warnings:
        typer.echo(f"warning: {warning}", err=True)
    targets = sum(len(pool.targets) for pool in found.pools.values())
    typer.echo(
        f"{config}: good; listens on {', '.join(listen_addresses(found))}, "
        f"{_count(len(found.pools), 'pool')}, {_count(targets, 'target')}, {_count(len(found.routes), 'route')}"
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _key_problem(config: "Config") -> str | None:
    """Why the balancer could check no token; nothing is made here that it would make itself."""
    from equipoise.admin.auth import check_keys
    from equipoise.admin.keys import KeyFileError

    try:
        check_keys(config, create=False)
    except KeyFileError as error:
        return str(error)
    return None

"""`equipoise token`: a token for the admin API.

Owns: its options.
Refuses to know: what a token says and what it is signed with (admin).
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from equipoise.cli.options import DEFAULT_CONFIG, FAILED, WRONG_USAGE, ConfigOption, allow_own_modules, print_problems


class RoleOption(StrEnum):
    """The roles; the same words as `admin.auth.Role`."""

    READ = "read"
    ADMIN = "admin"


def token(
    *,
    role: Annotated[RoleOption, typer.Option(help="`read` may look, `admin` may change.")] = RoleOption.ADMIN,
    ttl: Annotated[
        str, typer.Option(metavar="DURATION", help='How long it is good for, such as "90s", "1h" or "30m".')
    ] = "1h",
    config: ConfigOption = DEFAULT_CONFIG,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The private key (PEM); for all algorithms but HS256.")
    ] = None,
    subject: Annotated[str, typer.Option(metavar="NAME", help="Who it is for; the log names who changed what.")] = (
        "equipoise"
    ),
) -> None:
    """Prints a token for the admin API, made with the configured secret or a private key.

    With HS256 and no secret configured, the one in the state directory is taken, and made if there is none yet.
    """
    from equipoise.admin.auth import Grant, make_token
    from equipoise.admin.keys import KeyFileError, secret_path
    from equipoise.config.load import ConfigError, load

    allow_own_modules()
    try:
        found = load(config)
        grant = Grant("admin" if role is RoleOption.ADMIN else "read", _lifetime(ttl), subject)
        secret = secret_path(found)
        known = secret.exists()
        made = make_token(found, grant, private_key=key, create=True)
    except ConfigError as error:
        print_problems(error.problems, config)
        raise typer.Exit(WRONG_USAGE) from None
    except ValueError as error:
        typer.echo(f'--ttl: "{ttl}" {error}', err=True)
        raise typer.Exit(WRONG_USAGE) from None
    except KeyFileError as error:
        typer.echo(f"equipoise token: {error}", err=True)
        raise typer.Exit(FAILED) from None
    if not known and secret.exists():
        typer.echo(f"made the secret {secret}; a balancer that runs in another directory has another one", err=True)
    print(made)


def _lifetime(text: str) -> float:
    from equipoise.config.units import parse_duration

    seconds = parse_duration(text)
    if not seconds:
        raise ValueError("must be longer than nothing")
    return seconds

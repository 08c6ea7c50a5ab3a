"""A command's way to the admin API, and how it tells what went wrong.

Owns: one clear line on standard error for each way to fail, and the exit code.
Refuses to know: what the command asks for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from equipoise.cli.access import Access, Role, find_access
from equipoise.cli.answers import StrangeAnswerError
from equipoise.cli.client import Client, Refused, Unreachable
from equipoise.cli.options import FAILED, CommandError

READ: Final = "read"
ADMIN: Final = "admin"


@dataclass(frozen=True)
class Command:
    """What the caller is.

    Attributes:
        name: as the user typed it, in front of each message.
        role: that it needs; a token made on the spot has no more.
        failed: exit code when the API cannot be asked or refuses.
    """

    name: str
    role: Role = READ
    failed: int = FAILED


@contextmanager
def connect(command: Command, config: Path, admin: str, token: str) -> Iterator[Client]:
    """A client for the time of a command; what goes wrong within ends the command with one line and its exit code."""
    try:
        access = find_access(config, admin, token, command.role)
        with Client(access) as client:
            try:
                yield client
            except (Unreachable, Refused, StrangeAnswerError) as error:
                for line in explained(error, access):
                    tell(command.name, line)
                raise typer.Exit(command.failed) from None
    except CommandError as error:
        tell(command.name, str(error))
        raise typer.Exit(max(error.code, command.failed)) from None


def tell(command: str, line: str) -> None:
    """A line on standard error."""
    typer.echo(f"equipoise {command}: {line}", err=True)


def explained(error: Unreachable | Refused | StrangeAnswerError, access: Access) -> list[str]:
    """What went wrong, and what to do about it: one line; for an invalid value, one for each place."""
    match error:
        case Unreachable(reason=reason):
            return [f"cannot reach {access.url} ({access.source}): {reason}; is the balancer running?"]
        case StrangeAnswerError():
            return [f"{access.url} ({access.source}) answers what this version does not understand: {error}"]
        case Refused(status=401) if access.no_token:
            needed = "a token is needed: give one with --token or EQUIPOISE_TOKEN"
            return [f"{needed}; `equipoise token` makes one where the balancer runs ({access.no_token})"]
        case Refused(status=401, detail=detail):
            return [f"the token was refused: {detail}; `equipoise token` makes one where the balancer runs"]
        case Refused(status=403, detail=detail):
            return [f"the token does not allow this: {detail}; `equipoise token --role admin` makes one that does"]
        case Refused(status=422, places=places) if places:
            return [f"{place}: {message}" if place else message for place, message in places]
        case Refused(detail=detail, status=status):
            return [f"{access.url} failed: {detail}" if status >= 500 else detail]

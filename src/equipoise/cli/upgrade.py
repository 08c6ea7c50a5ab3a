"""`equipoise upgrade`: another process takes over.

Owns: its options and what it says of the outcome.
Refuses to know: how one process follows another; SIGUSR2 does the same without an answer.
"""

import typer

from equipoise.cli.client_options import AdminOption, JsonOption, TokenOption
from equipoise.cli.options import DEFAULT_CONFIG, ConfigOption

PATIENCE = 120.0
"""Seconds for the answer: the new process may take 75 to start."""


def upgrade(
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    admin: AdminOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Starts the program and the configuration that are on the disk now, and hands over to them.

    No connection is refused and no request is cut: the new process takes over the listening sockets, the old one ends
    what it has. Returns when the new one is in charge; when it cannot start, the old one goes on, and the exit code
    is 1. The process id of the balancer is another one afterwards.
    """
    from equipoise.cli.connect import ADMIN, Command, connect

    with connect(Command("upgrade", ADMIN), config, admin, token) as client:
        answer = client.post("upgrade", patience=PATIENCE)
        if json:
            typer.echo(answer.text)
        else:
            says = answer.data
            version = f"(configuration {says.get('version')})"
            typer.echo(f"process {says.get('pid')} has taken over from {says.get('before')} {version}")

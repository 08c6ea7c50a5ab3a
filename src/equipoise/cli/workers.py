"""`equipoise workers`: the worker processes.

Owns: the commands below it and what they say.
Refuses to know: how a worker is replaced.
"""

import typer

from equipoise.cli.client_options import AdminOption, JsonOption, TokenOption
from equipoise.cli.options import DEFAULT_CONFIG, ConfigOption

workers = typer.Typer(name="workers", help="Replaces the worker processes.", no_args_is_help=True)

PATIENCE = 24 * 3600.0
"""Seconds for the answer: each worker may take its `drain_timeout`, and there may be many."""


@workers.command("replace")
def replace(
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    admin: AdminOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Puts a new process in the place of each worker, one after the other; no request is cut.

    Returns when the last of the old ones is gone, each of which may take `drain_timeout` to finish what it carries.
    """
    from equipoise.cli.connect import ADMIN, Command, connect

    with connect(Command("workers replace", ADMIN), config, admin, token) as client:
        answer = client.post("workers", "replace", patience=PATIENCE)
        if json:
            typer.echo(answer.text)
        else:
            for each in answer.data.get("workers", ()):
                typer.echo(f"worker {each.get('pid')} has taken over from {each.get('before')}")

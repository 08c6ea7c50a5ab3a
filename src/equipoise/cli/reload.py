"""`equipoise reload`: the balancer reads its file again.

Owns: its options and what it says of the outcome.
Refuses to know: what a reload does; SIGHUP does the same without an answer.
"""

import typer

from equipoise.cli.client_options import AdminOption, JsonOption, TokenOption
from equipoise.cli.options import DEFAULT_CONFIG, ConfigOption


def reload(
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    admin: AdminOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Lets the balancer read its configuration file again.

    Returns when every worker acts on it. A bad file changes nothing; each of its problems is told, and the exit code
    is 1.
    """
    from equipoise.cli.connect import ADMIN, Command, connect

    with connect(Command("reload", ADMIN), config, admin, token) as client:
        answer = client.post("reload")
        if json:
            typer.echo(answer.text)
        elif answer.data.get("changed", True):
            typer.echo(f"reloaded (configuration {answer.data.get('version')})")
        else:
            typer.echo(f"reloaded; nothing has changed (configuration {answer.data.get('version')})")

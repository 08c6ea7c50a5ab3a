"""`equipoise config`: the configuration in force, and how it differs from the file.

Owns: its options, how a difference is written, and exit codes as those of diff(1).
Refuses to know: how file and admin changes are merged.
"""

import json as encoding
from typing import TYPE_CHECKING, Annotated

import typer

from equipoise.cli.client_options import AdminOption, JsonOption, TokenOption
from equipoise.cli.options import DEFAULT_CONFIG, FAILED, WRONG_USAGE, ConfigOption

if TYPE_CHECKING:
    from equipoise.cli.answers import Difference

DIFFERENT = 1


def config(
    *,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show where the file and the running configuration differ.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    admin: AdminOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Prints the configuration in force, as JSON: the file, with what was changed over the admin API.

    With --diff, each place where the balancer's file and the running configuration differ is a line. The exit code is
    then as that of diff: 0 when they are the same, 1 when they differ, 2 when it could not be found out.
    """
    from equipoise.cli.answers import Differences, read
    from equipoise.cli.connect import READ, Command, connect

    with connect(Command("config", READ, WRONG_USAGE if diff else FAILED), config, admin, token) as client:
        if not diff:
            answer = client.get("config")
            typer.echo(answer.text if json else encoding.dumps(answer.data.get("config"), indent=2, ensure_ascii=False))
            return
        answer = client.get("config", "differences")
        found = read(answer.data, Differences).differences
        if json:
            typer.echo(answer.text)
        else:
            for difference in found:
                typer.echo(in_one_line(difference))
        raise typer.Exit(DIFFERENT if found else 0)


def in_one_line(difference: "Difference") -> str:
    """Place, value in the file, value in force."""
    file, running = (
        "nothing" if value is None else encoding.dumps(value, ensure_ascii=False)
        for value in (difference.file, difference.running)
    )
    return f"{difference.place}: {file} in the file, {running} running"

"""The options and arguments of the commands that talk to the admin API.

Owns: their names, their help, and what completes them.
Refuses to know: what a command does with them.
"""

from typing import Annotated

import typer

from equipoise.cli.completion import algorithm_names, pool_names, target_names

AdminOption = Annotated[
    str,
    typer.Option(
        "--admin",
        metavar="URL",
        envvar="EQUIPOISE_ADMIN",
        help="Where the admin API is.",
        show_default="the file's `[admin] listen`",
    ),
]
TokenOption = Annotated[
    str,
    typer.Option(
        "--token",
        metavar="TOKEN",
        envvar="EQUIPOISE_TOKEN",
        help="A token of the admin API; where the secret can be read, none is needed.",
        show_default="made from the secret",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the API's answer as it is.")]
PoolOption = Annotated[
    str,
    typer.Option("--pool", metavar="NAME", help="Which pool.", show_default="the only one", autocompletion=pool_names),
]
WeightOption = Annotated[
    int | None, typer.Option("--weight", min=1, max=1000, help="Its share, relative to the other targets.")
]
MaxInFlightOption = Annotated[
    int | None, typer.Option("--max-in-flight", min=0, help="Requests it may hold at once; 0 is no limit.")
]
TargetArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the target.", autocompletion=target_names)]
AlgorithmArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The algorithm to switch to.", autocompletion=algorithm_names)
]

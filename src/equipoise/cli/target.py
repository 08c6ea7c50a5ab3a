"""`equipoise target`: one demo target.

Owns: its options.
Refuses to know: how a target answers (demo).
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class JitterOption(StrEnum):
    """Shapes of the delay; the same words as `demo.delays.Jitter`, named here so that `--help` loads nothing heavy."""

    NONE = "none"
    UNIFORM = "uniform"
    LOGNORMAL = "lognormal"


def target(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one and prints it.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    name: Annotated[str, typer.Option(help="Name in answers and logs.", show_default="host:port")] = "",
    delay: Annotated[
        float, typer.Option(min=0, metavar="MS", help="Mean delay before the answer, milliseconds.")
    ] = 0.0,
    jitter: Annotated[JitterOption, typer.Option(help="How delays vary around the mean.")] = JitterOption.NONE,
    log_every: Annotated[
        float, typer.Option(min=0.05, metavar="S", help="Seconds between two lines with the in-flight count.")
    ] = 10.0,
    samples: Annotated[
        Path | None, typer.Option(dir_okay=False, help="File to add an in-flight sample to every 50 ms.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Makes the sequence of delays repeatable.")] = None,
    reuse_port: Annotated[
        bool, typer.Option("--reuse-port", help="Share the port with a process that holds it (SO_REUSEPORT).")
    ] = False,
) -> None:
    """Runs one demo target: answers after a delay and logs how many requests it has in flight.

    A request may ask for its own answer: ?delay=MS, ?status=N, ?size=BYTES. /healthz answers at once, uncounted.
    """
    from equipoise.demo.delays import Jitter
    from equipoise.demo.target import TargetSettings, serve

    settings = TargetSettings(
        port=port,
        host=host,
        name=name,
        delay_ms=delay,
        jitter=Jitter(jitter.value),
        log_every=log_every,
        samples=samples,
        seed=seed,
        reuse_port=reuse_port,
    )
    try:
        serve(settings)
    except OSError as error:
        typer.echo(f"equipoise target: {error}", err=True)
        raise typer.Exit(1) from error

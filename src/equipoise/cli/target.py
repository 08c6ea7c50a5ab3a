"""`equipoise target`: one demo target.

Owns: its options.
Refuses to know: how a target answers (demo).
"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from equipoise.demo.keeper import Absence
    from equipoise.demo.target import TargetSettings


class JitterOption(StrEnum):
    """Shapes of the delay; the same words as `demo.delays.Jitter`, named here so that `--help` loads nothing heavy."""

    NONE = "none"
    UNIFORM = "uniform"
    LOGNORMAL = "lognormal"


LogOption = Annotated[
    Path | None, typer.Option(dir_okay=False, help="File to add the log to, besides standard output.")
]
StopAtOption = Annotated[
    float | None,
    typer.Option(min=0, metavar="S", help="When it is killed, as by a crash; a parent process sees to it."),
]
StartAtOption = Annotated[float | None, typer.Option(min=0, metavar="S", help="When it is started again.")]
ClockOption = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        help="File with the moment from which these two count: the demo against a URL writes it.",
        show_default="its own start",
    ),
]


GrpcOption = Annotated[bool, typer.Option("--grpc", help='Serve gRPC instead; it takes grpcio ("equipoise[grpc]").')]


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
    log: LogOption = None,
    stop_at: StopAtOption = None,
    start_at: StartAtOption = None,
    clock: ClockOption = None,
    seed: Annotated[int | None, typer.Option(help="Makes the sequence of delays repeatable.")] = None,
    reuse_port: Annotated[
        bool, typer.Option("--reuse-port", help="Share the port with a process that holds it (SO_REUSEPORT).")
    ] = False,
    grpc: GrpcOption = False,
) -> None:
    """Runs one demo target: answers after a delay and logs how many requests it has in flight.

    A request may ask for its own answer: ?delay=MS, ?status=N, ?size=BYTES. /healthz answers at once, uncounted.
    With --grpc it serves the unary method /equipoise.demo.Orders/Place, and grpc.health.v1.Health/Check.
    """
    from equipoise.demo.delays import Jitter
    from equipoise.demo.settings import GRPC_MISSING, has_grpc
    from equipoise.demo.target import TargetSettings

    settings = TargetSettings(
        port=port,
        host=host,
        name=name,
        delay_ms=delay,
        jitter=Jitter(jitter.value),
        log_every=log_every,
        samples=samples,
        log=log,
        seed=seed,
        reuse_port=reuse_port,
        grpc=grpc,
    )
    if grpc and not has_grpc():
        raise typer.BadParameter(f"--grpc: {GRPC_MISSING}")
    try:
        raise typer.Exit(_run(settings, _absence(stop_at, start_at, clock)))
    except OSError as error:
        typer.echo(f"equipoise target: {error}", err=True)
        raise typer.Exit(1) from error


def _absence(stop_at: float | None, start_at: float | None, clock: Path | None) -> "Absence | None":
    from equipoise.demo.keeper import Absence

    if stop_at is None and start_at is None and clock is None:
        return None
    if stop_at is None or start_at is None:
        raise typer.BadParameter("--stop-at and --start-at go together, and --clock goes with them")
    if stop_at >= start_at:
        raise typer.BadParameter("the order is: --stop-at < --start-at")
    return Absence(stop_at, start_at, clock)


def _run(settings: "TargetSettings", absence: "Absence | None") -> int:
    from equipoise.demo.keeper import Keeper
    from equipoise.demo.target import serve
    from equipoise.demo.target_log import TargetLog

    if absence is None:
        serve(settings)
        return 0
    with TargetLog(settings.name, settings.log) as log:
        return Keeper(absence, lambda: serve(settings), log).run()

"""`equipoise demo`: targets, balancer and traffic as real processes, one target lost and regained, a report.

Owns: its options.
Refuses to know: how the demo runs (demo).
"""

from pathlib import Path
from typing import Annotated

import typer

UrlOption = Annotated[str, typer.Option(metavar="URL", help="A balancer that runs elsewhere, before targets that do.")]
SharedOption = Annotated[
    Path | None,
    typer.Option(file_okay=False, help="With a URL: folder with the files of those targets and that balancer."),
]
MetricsOption = Annotated[
    str, typer.Option(metavar="URL", help="With a URL: where that balancer's admin API tells its metrics.")
]


GrpcOption = Annotated[
    bool, typer.Option("--grpc", help='gRPC calls to gRPC targets; it takes grpcio ("equipoise[grpc]").')
]


def demo(
    *,
    targets: Annotated[int, typer.Option(min=2, help="How many targets.")] = 5,
    duration: Annotated[float, typer.Option(metavar="S", help="Seconds of traffic.")] = 60.0,
    kill_at: Annotated[
        float | None, typer.Option(metavar="S", help="When one target is killed.", show_default="a third of the time")
    ] = None,
    restart_at: Annotated[
        float | None, typer.Option(metavar="S", help="When it is started again.", show_default="two thirds")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Requests open at any time.", show_default="about 25 per target")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0.1, help="Requests a second instead, however many are open.", show_default="none"),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Workers of the balancer.")] = 1,
    algorithm: Annotated[
        str, typer.Option(help="How the balancer picks; others than the default miss the marks.")
    ] = "least_in_flight",
    delay: Annotated[
        float,
        typer.Option(min=1, metavar="MS", help="Mean delay of the targets; the slowest takes twice the fastest's."),
    ] = 250.0,
    seed: Annotated[int, typer.Option(help="Makes delays and requests repeatable.")] = 1,
    grpc: GrpcOption = False,
    url: UrlOption = "",
    shared: SharedOption = None,
    admin: MetricsOption = "",
    report: Annotated[Path, typer.Option(file_okay=False, help="Directory for the report.")] = Path(
        "equipoise-demo-report"
    ),
) -> None:
    """Shows an even split over targets while one of them is killed and comes back.

    Exits with 0 when the run meets its marks and with 1 when it misses one. Given a URL, it makes only the traffic and
    the report: targets and balancer run elsewhere, as docs/how-to/compose.md says.
    """
    from equipoise.demo.elsewhere import Elsewhere
    from equipoise.demo.run import run
    from equipoise.demo.settings import DemoSettings, UsageError

    settings = DemoSettings(
        report, targets, duration, workers=workers, delay_ms=delay, algorithm=algorithm, seed=seed, grpc=grpc
    )
    try:
        settings = settings.with_timeline(kill_at, restart_at).with_load(concurrency, rate)
        settings.check()
    except UsageError as error:
        raise typer.BadParameter(str(error)) from error
    if bool(url) != (shared is not None) or (admin and not url):
        raise typer.BadParameter("--url and --shared go together, and --admin goes with them")
    elsewhere = None if shared is None else Elsewhere(url, shared, admin)
    raise typer.Exit(run(settings, elsewhere=elsewhere))

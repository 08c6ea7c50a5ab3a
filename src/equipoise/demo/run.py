"""The demo from its settings to its report.

Owns: running the scenario, writing the report, the exit code.
Refuses to know: the command line.
"""

from pathlib import Path

import msgspec
from rich.console import Console

from equipoise.demo import report as reports
from equipoise.demo.elsewhere import Elsewhere, play_elsewhere
from equipoise.demo.processes import DemoError
from equipoise.demo.report import Data, Report
from equipoise.demo.scenario import play
from equipoise.demo.settings import DemoSettings
from equipoise.demo.view import view_for

MET, MISSED, INTERRUPTED = 0, 1, 130


def run(settings: DemoSettings, console: Console | None = None, elsewhere: Elsewhere | None = None) -> int:
    """Runs the demo and writes its report.

    Args:
        settings: what is run.
        console: where it is shown; standard output when None.
        elsewhere: where targets and balancer are that run already; None starts them here.

    Returns:
        0 when all marks are met, 1 when one is missed or the demo broke off, 130 after Ctrl-C.
    """
    console = console or Console()
    errors = Console(stderr=True)
    try:
        with view_for(console) as view:
            facts = play(settings, view) if elsewhere is None else play_elsewhere(settings, elsewhere, view)
    except DemoError as error:
        say(errors, f"equipoise demo: {error}\nThe files of its processes are in {settings.report}")
        return MISSED
    except KeyboardInterrupt:
        say(errors, "equipoise demo: interrupted; all its processes have ended")
        return INTERRUPTED
    if isinstance(workers := facts.balancer.get("workers"), int):
        settings = msgspec.structs.replace(settings, workers=workers)
    data = reports.read(settings, facts)
    report = reports.build(data)
    text = reports.to_text(report)
    settings.file("report.txt").write_text(text, encoding="utf-8")
    settings.file("report.json").write_bytes(reports.to_json(report))
    say(console, text)
    written = [settings.file("report.txt"), settings.file("report.json"), *draw(data, report, errors)]
    say(console, "Report: " + ", ".join(str(path) for path in written))
    return MET if report.passed else MISSED


def say(console: Console, text: str) -> None:
    """Prints text as it is."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def draw(data: Data, report: Report, errors: Console) -> list[Path]:
    """Draws the pictures; says so and draws none where matplotlib is not installed."""
    try:
        from equipoise.demo import plot  # noqa: PLC0415 (the extra may be absent)
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        say(errors, 'No picture: it takes matplotlib, which "equipoise[demo]" installs')
        return []
    file = data.settings.file
    pictures = {
        file("report.svg"): plot.svg(data, report).encode(),
        file("report.png"): plot.png(data, report, plot.LIGHT),
        file("report-dark.png"): plot.png(data, report, plot.DARK),
    }
    for path, content in pictures.items():
        path.write_bytes(content)
    return list(pictures)

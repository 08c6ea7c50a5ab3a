import datetime as dt
import json
from pathlib import Path

from benchmarks import report
from benchmarks.limits import Verdict
from benchmarks.model import Figures, IdleFigures, MicroFigure, Results, ScenarioResult
from benchmarks.report import Circumstances


def figures(
    row: str, cpu_us: float, *, log: bool = False, errors: tuple[str, ...] = (), foreign: float = 0.0
) -> Figures:
    return Figures(
        row, log, 5, cpu_us, cpu_us - 1, cpu_us + 1, cpu_us, 0.0, 50_000, 0.6, 1.9, 20 << 20, foreign, errors
    )


def scenario(*rows: Figures) -> ScenarioResult:
    return ScenarioResult("100B, 1 worker", "100B", 1, 3, rows)


def cells(text: str, row: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {row} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


CIRCUMSTANCES = Circumstances(
    date=dt.date(2026, 11, 22),
    command="python -m benchmarks --quick",
    minutes=2.5,
    commit="0123456789ab",
    machine={"processor": "AMD EPYC", "cores": "2", "memory": "24 GiB", "kernel": "Linux 6.18.44"},
    versions={"nginx": "1.22.1"},
)


def test_a_table_lines_up_in_its_source() -> None:
    text = report.table(("name", "us"), [("nginx", "7"), ("x", "1234")])

    assert text.splitlines() == ["| name  |   us |", "| ----- | ---: |", "| nginx |    7 |", "| x     | 1234 |"]


def test_rows_are_ordered_by_cost() -> None:
    text = report.scenario_table(scenario(figures("dear", 30.0), figures("cheap", 10.0)))

    assert text.index("cheap") < text.index("dear")


def test_a_row_is_compared_with_the_nginx_of_its_own_log_setting() -> None:
    text = report.scenario_table(
        scenario(
            figures("equipoise", 10.0),
            figures("equipoise, log", 15.0, log=True),
            figures("nginx", 20.0),
            figures("nginx, log", 25.0, log=True),
        )
    )

    assert cells(text, "equipoise")[9] == "0.50"
    assert cells(text, "equipoise, log")[9] == "0.60"


def test_a_failed_row_is_marked_and_last_and_has_no_ratio() -> None:
    text = report.scenario_table(
        scenario(figures("broken", 1.0, errors=("5 socket errors (read)",)), figures("HAProxy", 20.0))
    )

    assert text.splitlines()[-1].startswith("| broken (FAILED)")
    assert cells(text, "broken (FAILED)")[10] == ""


def test_an_operation_measured_in_one_mode_only_has_no_ratio() -> None:
    text = report.micro_table([MicroFigure("scan", 2000.0, 40_000.0), MicroFigure("pick", None, 900.0)])

    assert cells(text, "scan") == ["scan", "2000", "40000", "20.0"]
    assert cells(text, "pick") == ["pick", "", "900", ""]


def test_the_report_says_what_failed_and_what_disturbed() -> None:
    results = Results(
        scenarios=[scenario(figures("nginx", 20.0, foreign=0.4))],
        idle=[IdleFigures("nginx", 10_000, 20 << 20, 498.0, 589.0)],
        problems=["100B, 1 worker, nginx: 5 socket errors (read)"],
    )

    text = report.markdown(results, [Verdict("ours / nginx", "here", 1.2, 1.0, "x CPU")], CIRCUMSTANCES)

    assert "- 100B, 1 worker, nginx: 5 socket errors (read)" in text
    assert "other programs took up to 40% of the machine" in text
    assert cells(text, "ours / nginx")[-1] == "FAIL"
    assert "| nginx    |       10000 |" in text


def test_the_json_holds_the_same_figures_and_verdicts() -> None:
    results = Results(scenarios=[scenario(figures("nginx", 20.0))])

    found = json.loads(report.as_json(results, [Verdict("l", "w", 0.5, 1.0, "x CPU")], CIRCUMSTANCES))

    assert found["date"] == "2026-11-22"
    assert found["scenarios"][0]["figures"][0]["cpu_us"] == 20.0
    assert found["limits"][0]["passed"] is True


def test_a_second_report_of_the_day_does_not_replace_the_first(tmp_path: Path) -> None:
    first = report.save(tmp_path, "all", "one", "{}")
    second = report.save(tmp_path, "all", "two", "{}")

    assert first.read_text() == "one"
    assert second.name.endswith("-all-2.md")
    assert len(list(tmp_path.glob("*.json"))) == 2

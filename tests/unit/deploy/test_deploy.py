"""What lies in deploy/ speaks of metrics that there are: the dashboard, the alerts, the scrape."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from equipoise.admin.metrics_reference import METRICS

ROOT = Path(__file__).parents[3]
DASHBOARD = ROOT / "deploy/grafana/equipoise.json"
PROMETHEUS = ROOT / "deploy/prometheus"
# What each series is called, with its labels; Prometheus adds two labels and a metric of its own.
ADDED = {"job", "instance"}
SERIES = {"up": ADDED} | {
    f"{metric.name}{ending}": ADDED | set(metric.labels)
    for metric in METRICS.values()
    for ending in (("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",))
}
# PromQL's own words that look like the name of a metric or a label.
SELECTOR = re.compile(r"\b((?:equipoise|process)_\w+|up)\b(?:\{([^}]*)\})?")
GROUPING = re.compile(r"\b(?:by|on|group_left)\s*\(([^)]*)\)")


def yaml(path: Path) -> Any:
    # It comes with the tools of the tests; it has no types, so it is not imported by name.
    return importlib.import_module("yaml").safe_load(path.read_text())


def dashboard() -> Any:
    return json.loads(DASHBOARD.read_text())


def rules() -> list[Any]:
    return [rule for group in yaml(PROMETHEUS / "equipoise.rules.yml")["groups"] for rule in group["rules"]]


def queries() -> dict[str, str]:
    """Every expression of the dashboard and the alerts, by where it stands."""
    found = {
        f"{panel['title']}:{query['refId']}": query["expr"]
        for panel in dashboard()["panels"]
        for query in panel.get("targets", [])
    }
    found |= {
        each["name"]: each["query"]["query"] for each in dashboard()["templating"]["list"] if each["type"] == "query"
    }
    found |= {each["name"]: each["expr"] for each in dashboard()["annotations"]["list"]}
    return found | {rule["alert"]: rule["expr"] for rule in rules()}


def strange(query: str) -> list[str]:
    """The names in an expression that there are not."""
    selectors = [(name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside))) for name, inside in SELECTOR.findall(query)]
    wrong = [name for name, _ in selectors if name not in SERIES]
    known = {label for name, _ in selectors for label in SERIES.get(name, ())}
    wrong += [label for name, labels in selectors for label in labels - SERIES.get(name, labels)]
    grouped = {label.strip() for inside in GROUPING.findall(query) for label in inside.split(",")} - {""}
    return wrong + sorted(grouped - known)


@pytest.mark.parametrize("place", queries())
def test_every_metric_and_label_asked_for_is_there(place: str) -> None:
    query = queries()[place]
    assert SELECTOR.search(query)
    assert strange(query) == []


def test_a_metric_or_label_that_is_not_there_is_found() -> None:
    assert strange('sum by (pool, shop) (rate(equipoise_requests_total{clas="5xx"}[5m])) / equipoise_wolves') == [
        "equipoise_wolves",
        "clas",
        "shop",
    ]


def test_the_dashboard_shows_every_metric_but_settings() -> None:
    shown = {name for query in queries().values() for name, _ in SELECTOR.findall(query)}
    families = {name for name in METRICS if any(series in shown for series in (name, f"{name}_bucket"))}
    settings = {
        "equipoise_target_weight",
        "equipoise_target_max_in_flight",
        "process_max_fds",
        "process_start_time_seconds",
        "process_virtual_memory_bytes",
    }
    assert METRICS.keys() - families == settings


def test_the_panels_have_numbers_of_their_own() -> None:
    numbers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_no_two_panels_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_panel_asks_the_chosen_data_source_and_only_known_variables() -> None:
    text = DASHBOARD.read_text()
    known = {each["name"] for each in dashboard()["templating"]["list"]}
    used = {name for name in re.findall(r"\$\{?(\w+)", text) if not name.startswith("__")}
    assert used <= known
    asked = [query["datasource"] for panel in dashboard()["panels"] for query in panel.get("targets", [])]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in asked)


def test_brackets_of_every_expression_close() -> None:
    pairs = {")": "(", "]": "[", "}": "{"}
    for place, query in queries().items():
        opened: list[str] = []
        for character in re.sub(r'"[^"]*"', "", query):
            if character in pairs.values():
                opened.append(character)
            elif character in pairs:
                assert opened.pop() == pairs[character], place
        assert opened == [], place


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_how_grave_it_is_and_what_to_do(rule: Any) -> None:
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description"}
    labels = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    known = {label for name, _ in SELECTOR.findall(rule["expr"]) for label in SERIES[name]}
    assert labels <= known


def test_the_scrape_reads_the_rules_that_lie_beside_it() -> None:
    config = yaml(PROMETHEUS / "prometheus.yml")
    assert [name for name in config["rule_files"] if not (PROMETHEUS / name).is_file()] == []
    (job,) = config["scrape_configs"]
    assert (job["job_name"], job["metrics_path"]) == ("equipoise", "/metrics")

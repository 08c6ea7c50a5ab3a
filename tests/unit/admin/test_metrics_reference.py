"""The table: Prometheus's rules for names, and the page that is made from it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from equipoise.admin.metrics_reference import BUCKETS, GROUPS, METRICS, Metric, page

ROOT = Path(__file__).parents[3]
ALL = [metric for group in GROUPS.values() for metric in group]
# Endings that belong to the series of histograms, summaries and counters.
RESERVED = ("_bucket", "_count", "_sum", "_created")
# What promtool's linter calls for: base units, and no kind, no abbreviation and no label in a name.
NO_UNITS = re.compile(r"_(?:milliseconds|ms|minutes|hours|kilobytes|megabytes|kb|mb|percent|bits)(?:_|$)")
NO_KINDS = re.compile(r"_(?:counter|gauge|histogram|summary|metric)(?:_|$)")


def test_the_page_in_the_repository_is_current() -> None:
    committed = (ROOT / "docs/reference/metrics.md").read_text()
    assert committed == page(), "run: python -m equipoise.admin.metrics_reference > docs/reference/metrics.md"


def test_the_module_prints_the_page() -> None:
    command = [sys.executable, "-m", "equipoise.admin.metrics_reference"]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout == page()


def test_no_name_is_used_twice() -> None:
    assert len(METRICS) == len(ALL)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_a_name_follows_the_rules_of_prometheus(metric: Metric) -> None:
    assert re.fullmatch(r"(?:equipoise|process)_[a-z0-9_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.name.endswith("_info") == (metric.kind == "info")
    assert not metric.name.endswith(RESERVED)
    assert not NO_UNITS.search(metric.name)
    assert not NO_KINDS.search(metric.name)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_labels_follow_the_rules_of_prometheus(metric: Metric) -> None:
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", label) for label in metric.labels)
    assert len(set(metric.labels)) == len(metric.labels)
    assert ("le" in metric.labels) == (metric.kind == "histogram")


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_the_help_text_needs_no_escaping_and_breaks_no_table(metric: Metric) -> None:
    assert re.fullmatch(r"[A-Z0-9][^\\\"\n|]*\.", metric.about)


def test_buckets_are_seconds_in_order_and_end_in_infinity() -> None:
    bounds = [float(bound) for bound in BUCKETS]
    assert bounds == sorted(set(bounds))
    assert bounds[0] == 0.001
    assert BUCKETS[-1] == "+Inf"

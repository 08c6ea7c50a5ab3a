"""Whoever shares a worker with a flood is answered all the same, each time and soon."""

from pathlib import Path

import pytest

from tests.scenarios.http2.flood_table import MIB, measure, stage, table

MOST_CPU_S = 0.5
MOST_GROWTH = 10 * MIB
# No figure of the machine's: three orders above what is measured, and what a person would notice.
MOST_WAIT_S = 2.0


@pytest.mark.slow
def test_another_client_of_the_same_worker_is_served_through_every_flood(tmp_path: Path) -> None:
    with stage(tmp_path) as balancer:
        rows = measure(balancer, 1, 0.1)
    assert [row.name for row in rows if row.longest_s > MOST_WAIT_S] == [], table(rows)
    assert [row.name for row in rows if row.cpu_s > MOST_CPU_S or row.grown > MOST_GROWTH] == [], table(rows)

import json

import pytest
from benchmarks.soak.judge import Check
from benchmarks.soak.record import Incident, Record, What
from benchmarks.soak.report import Circumstances, Story, as_json, markdown

CIRCUMSTANCES = Circumstances(
    "2026-01-31",
    "python -m benchmarks.soak --minutes 10 --seed 1",
    10.2,
    1,
    "0123456789ab",
    {"processor": "some processor", "cores": "2", "memory": "8 GiB", "kernel": "Linux 6.1"},
    compiled=True,
)
GOOD = Check("All is well", passed=True, figure="0 of 5")
BAD = Check("Nothing leaks", passed=False, figure="7 of 5", details=("soak-3: lost",))


@pytest.fixture
def story() -> Story:
    record = Record()
    record.good(record.begin("HTTP/1", "web", safe=True, connected=0.0), 200)
    record.left(record.begin("leaves early", "web", safe=True, connected=0.0))
    record.incidents.append(Incident(What.TARGET_KILLED, "web-1", frozenset({"web"}), 1.0, 1.0))
    found = Story.of(record, {"target killed: HTTP/1, answer cut": 4}, {"drain": 6})
    return Story(**{**vars(found), "recoveries": {"target killed": (0.25, 0.5, 1.5)}})


def test_a_run_in_which_all_passed_says_so(story: Story) -> None:
    text = markdown([GOOD], story, CIRCUMSTANCES)
    assert "All checks passed." in text
    assert "compiled" in text


def test_a_failed_check_is_shown_with_its_details(story: Story) -> None:
    text = markdown([GOOD, BAD], story, CIRCUMSTANCES)
    assert "1 of 2 checks failed." in text
    assert "### Nothing leaks" in text
    assert "soak-3: lost" in text


def test_counts_of_requests_incidents_and_excuses_are_in_tables(story: Story) -> None:
    cells = [
        " | ".join(part.strip() for part in line.split("|")) for line in markdown([], story, CIRCUMSTANCES).split("\n")
    ]
    assert " | HTTP/1 | 1 | 0 | " in cells
    assert " | leaves early | 0 | 1 | " in cells
    assert " | target killed | 1 | 0.50 s at the median, 1.50 s at most | " in cells
    assert " | drain | 6 | " in cells
    assert " | target killed: HTTP/1, answer cut | 4 | " in cells


@pytest.mark.parametrize(("checks", "passed"), [([GOOD], True), ([GOOD, BAD], False)])
def test_programs_read_whether_all_passed(story: Story, checks: list[Check], passed: bool) -> None:
    document = json.loads(as_json(checks, story, CIRCUMSTANCES))
    assert document["passed"] is passed
    assert document["answered"] == {"HTTP/1": 1}
    assert document["incidents"]["target killed"] == 1

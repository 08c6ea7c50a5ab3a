import io
import json
from pathlib import Path

import pytest

from equipoise.demo.target_log import TargetLog


def test_a_line_names_moment_event_and_target() -> None:
    out = io.StringIO()
    with TargetLog("a", out=out) as log:
        log.say("in_flight", 0.5, in_flight=3)
    assert json.loads(out.getvalue()) == {
        "time": "1970-01-01T00:00:00.500Z",
        "event": "in_flight",
        "name": "a",
        "in_flight": 3,
    }


def test_the_file_gets_what_standard_output_gets(tmp_path: Path) -> None:
    out = io.StringIO()
    with TargetLog("a", tmp_path / "log", out) as log:
        log.say("listening", 1.0)
        # While it is open: whoever reads it does not wait for the end.
        assert (tmp_path / "log").read_text() == out.getvalue() != ""


def test_lines_are_added_to_the_file_of_an_earlier_life(tmp_path: Path) -> None:
    for _ in range(2):
        with TargetLog("a", tmp_path / "log", io.StringIO()) as log:
            log.say("listening", 1.0)
    assert (tmp_path / "log").read_text().count("listening") == 2


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        TargetLog("a", tmp_path / "missing" / "log")

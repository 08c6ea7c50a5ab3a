"""The application log's two forms."""

import io
import json
import logging
from collections.abc import Iterator, Mapping

import pytest

from equipoise.runtime.app_log import AppLog, forward
from tests.unit.runtime.parts import ReadableLog


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    def write(self, text: str, /) -> int:
        raise BrokenPipeError(text)


def test_each_line_is_an_object_that_begins_with_time_level_and_event(log: ReadableLog) -> None:
    log.info("listening", address="127.0.0.1:80")
    line = log.stream.getvalue()
    assert list(json.loads(line)) == ["time", "level", "event", "address"]
    assert line.count("\n") == 1


def test_a_terminal_gets_readable_lines() -> None:
    stream = Terminal()
    AppLog(stream).warning("target down", target="a")
    assert "target down" in stream.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(stream.getvalue())


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_a_level_can_be_given_as_a_word(log: ReadableLog, level: str) -> None:
    log.write(level, "event", {})
    assert log.lines[0]["level"] == level


def test_an_unknown_level_is_an_error(log: ReadableLog) -> None:
    log.write("exit", "event", {})
    assert log.lines[0]["level"] == "error"


def test_a_field_may_be_called_like_a_part_of_the_line(log: ReadableLog) -> None:
    log.write("info", "real", {"event": "x", "level": "y", "time": "z"})
    assert (log.lines[0]["event"], log.lines[0]["event_"]) == ("real", "x")


def test_a_line_break_in_a_field_makes_no_second_line(log: ReadableLog) -> None:
    log.info("a\nb", field="c\nd")
    assert len(log.lines) == 1


def test_a_log_that_cannot_be_written_stops_nobody() -> None:
    AppLog(Broken()).error("unheard")


@pytest.fixture
def forwarded() -> Iterator[list[tuple[str, str, Mapping[str, str]]]]:
    said: list[tuple[str, str, Mapping[str, str]]] = []
    forward(lambda *line: said.append(line))
    yield said
    for name in ("asyncio", "equipoise.proxy"):
        logging.getLogger(name).handlers.pop()


def test_what_the_event_loop_says_is_forwarded_with_its_traceback(
    forwarded: list[tuple[str, str, Mapping[str, str]]],
) -> None:
    try:
        int("the cause")
    except ValueError:
        logging.getLogger("asyncio").exception("it broke in %s", "a callback")
    level, event, fields = forwarded[0]
    assert (level, event) == ("error", "it broke in a callback")
    assert "the cause" in fields["traceback"]


def test_the_access_log_is_not_forwarded(forwarded: list[tuple[str, str, Mapping[str, str]]]) -> None:
    logging.getLogger("equipoise.access").warning("GET /")
    assert forwarded == []

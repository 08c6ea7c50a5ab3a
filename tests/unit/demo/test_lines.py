from pathlib import Path

from equipoise.demo.lines import Tail, encode, rfc3339


def test_a_moment_is_written_with_milliseconds_in_utc() -> None:
    assert rfc3339(1_700_000_000.0) == "2023-11-14T22:13:20.000Z"


def test_a_tail_gives_each_whole_line_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(encode({"a": 1}) + '{"a"')
    with Tail(path) as tail:
        assert list(tail.read()) == [{"a": 1}]
        with path.open("a") as file:
            file.write(": 2}\n" + encode({"a": 3}))
        assert list(tail.read()) == [{"a": 2}, {"a": 3}]
        assert list(tail.read()) == []


def test_a_tail_waits_for_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with Tail(path) as tail:
        assert list(tail.read()) == []
        path.write_text(encode({"a": 1}))
        assert list(tail.read()) == [{"a": 1}]


def test_a_tail_passes_over_what_is_no_object(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text('plain words\n{"torn": \n17\n' + encode({"a": 1}))
    with Tail(path) as tail:
        assert list(tail.read()) == [{"a": 1}]

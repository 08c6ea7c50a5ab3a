import json
from pathlib import Path

from benchmarks.soak.lines import Lines, compare, read
from benchmarks.soak.record import Record


def record(*statuses: int) -> Record:
    """Requests with these statuses; 0 for one that was given up."""
    found = Record()
    for status in statuses:
        request = found.begin("HTTP/1", "web", safe=True, connected=0.0)
        if status:
            found.good(request, status)
        else:
            found.left(request)
    return found


def line(number: object, status: int = 200, **more: object) -> bytes:
    fields = {"request_id": f"soak-{number}", "status": status, "protocol": "HTTP/1.1", "method": "GET", "error": None}
    return json.dumps({**fields, **more}).encode() + b"\n"


def compared(lines: list[bytes], found: Record, *, may: bool = False) -> Lines:
    return compare(lines, found, lambda _started, _ended: may)


def wrong(found: Lines) -> tuple[int, int, int, int]:
    return found.missing, found.twice, found.strange, found.different


def test_a_line_for_each_request_is_right() -> None:
    assert wrong(compared([line(1, 404), line(0)], record(200, 404))) == (0, 0, 0, 0)


def test_an_answered_request_without_a_line_is_missing() -> None:
    assert wrong(compared([line(0)], record(200, 200))) == (1, 0, 0, 0)


def test_a_line_that_may_be_missing_is_counted_apart() -> None:
    found = compared([], record(200), may=True)
    assert (found.missing, found.allowed_missing) == (0, 1)


def test_a_request_that_was_given_up_may_have_a_line_of_any_status_or_none() -> None:
    assert wrong(compared([line(0, 499)], record(0, 0))) == (0, 0, 0, 0)


def test_a_second_line_is_one_too_many_even_for_what_was_given_up() -> None:
    assert wrong(compared([line(0, 499), line(0, 502)], record(0))) == (0, 1, 0, 0)


def test_another_status_than_the_client_saw_is_different() -> None:
    assert wrong(compared([line(0, 502)], record(200))) == (0, 0, 0, 1)


def test_a_line_of_no_request_is_strange() -> None:
    assert wrong(compared([line(0), line(7), line("x")], record(200))) == (0, 0, 2, 0)


def test_a_head_that_was_cut_off_has_no_id_and_is_not_strange() -> None:
    assert wrong(compared([line("", 400, method="", error="malformed (downstream)")], record(0))) == (0, 0, 0, 0)


def test_the_requests_of_the_cache_itself_are_counted_apart() -> None:
    found = compared([line("", protocol="refresh")], record())
    assert (found.refreshes, found.strange) == (1, 0)


def test_a_torn_line_is_counted() -> None:
    assert compared([line(0)[:20]], record(0)).torn == 1


def test_all_files_are_read(tmp_path: Path) -> None:
    paths = [tmp_path / "one", tmp_path / "two"]
    paths[0].write_bytes(b"a\nb\n")
    paths[1].write_bytes(b"c\n")
    assert list(read(paths)) == [b"a\n", b"b\n", b"c\n"]

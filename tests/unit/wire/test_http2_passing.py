"""What changes in a header list on its way."""

import pytest

from equipoise.wire.hpack_header import Header, header
from equipoise.wire.http2_passing import LOOKALIKES, join_cookies, without_lookalikes


def fields(*pairs: tuple[bytes, bytes]) -> list[Header]:
    return [header(name, value) for name, value in pairs]


def pairs_of(headers: list[Header]) -> list[tuple[bytes, bytes]]:
    return [(each.name, each.value) for each in headers]


def test_crumbs_become_one_cookie_at_the_place_of_the_first() -> None:
    given = fields((b"a", b"b"), (b"cookie", b"x=1"), (b"c", b"d"), (b"cookie", b"y=2"), (b"cookie", b"z"))
    assert pairs_of(join_cookies(given)) == [(b"a", b"b"), (b"cookie", b"x=1; y=2; z"), (b"c", b"d")]


def test_an_empty_crumb_leaves_no_blank_at_an_end() -> None:
    given = fields((b"cookie", b""), (b"cookie", b"x=1"), (b"cookie", b""))
    assert pairs_of(join_cookies(given)) == [(b"cookie", b"x=1")]


@pytest.mark.parametrize(
    "name", [b"content_length", b"transfer_encoding", b"x_forwarded_for", b"x-forwarded_proto", b"x_request-id"]
)
def test_a_name_that_cgi_takes_for_another_is_left_out(name: bytes) -> None:
    given = fields((b"content-length", b"5"), (name, b"6"), (b"x_other", b"7"))
    assert pairs_of(without_lookalikes(given)) == [(b"content-length", b"5"), (b"x_other", b"7")]


def test_no_lookalike_is_the_name_itself() -> None:
    assert all(b"_" in name for name in LOOKALIKES)

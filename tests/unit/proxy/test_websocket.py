"""The handshake of RFC 6455, made for clients of HTTP/2."""

import base64

import pytest

from equipoise.proxy.websocket import accepts, new_key

# The example of RFC 6455 1.3.
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ANSWER = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_the_answer_that_belongs_to_a_key_is_accepted() -> None:
    assert accepts(KEY, ANSWER)


@pytest.mark.parametrize("answer", [None, b"", KEY, ANSWER.lower(), ANSWER + b" "])
def test_any_other_answer_is_not(answer: bytes | None) -> None:
    assert not accepts(KEY, answer)


def test_a_key_is_sixteen_bytes_that_nobody_can_guess() -> None:
    keys = {new_key() for _ in range(100)}
    assert {len(base64.b64decode(key, validate=True)) for key in keys} == {16}
    assert len(keys) == 100

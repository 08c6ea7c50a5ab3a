import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.admin.bodies import parse
from equipoise.admin.problems import ProblemError
from tests.unit.admin.parts import Api

ALGORITHM = "/v1/pools/default/algorithm"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "is not valid JSON", id="nothing"),
        pytest.param(b"{", "is not valid JSON", id="broken off"),
        pytest.param(b'{"a": 1} {}', "Extra data, line 1, column 10", id="trailing data"),
        pytest.param(b"{'a': 1}", "is not valid JSON", id="single quotes"),
        pytest.param(b'{"a": 1,}', "is not valid JSON", id="trailing comma"),
        pytest.param(b'{"a": 1, "a": 2}', "names a field twice", id="a field twice"),
        pytest.param(b'[{"b": {"a": 1, "a": 1}}]', "names a field twice", id="a field twice, within"),
        pytest.param(b'{"a": NaN}', "holds NaN", id="NaN"),
        pytest.param(b'{"a": -Infinity}', "holds -Infinity", id="Infinity"),
        pytest.param(b'{"a": %b}' % (b"9" * 19), "too many digits", id="a number of 19 digits"),
        pytest.param(b'{"a": %b}' % (b"9" * 60000), "too many digits", id="a number of 60,000 digits"),
        pytest.param(b'{"a": 1e999}', "a number that is too large", id="a number of 999 digits"),
        pytest.param(b"[" * 60000, "nested too deeply", id="60,000 lists"),
        pytest.param(b'{"a":' * 12000, "nested too deeply", id="12,000 tables"),
        pytest.param(b'{"a": "\xff"}', "not valid UTF-8", id="no UTF-8"),
        pytest.param('{"a": 1}'.encode("utf-16"), "not valid UTF-8", id="UTF-16"),
        pytest.param(b'{"a": "\\ud800"}', "not valid UTF-8", id="half of a character"),
        pytest.param(b'{"\\ud800": 1}', "not valid UTF-8", id="half of a character as a field"),
        pytest.param(b'{"a": [["\\ud800"]]}', "not valid UTF-8", id="half of a character in lists"),
        pytest.param(b'"\\ud800"', "not valid UTF-8", id="half of a character alone"),
        pytest.param(b"\xef\xbb\xbf{}", "is not valid JSON", id="byte order mark"),
    ],
)
def test_what_is_no_plain_json_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(ProblemError, match=reason) as caught:
        parse(body)
    assert caught.value.status_code == 422
    assert [problem.place for problem in caught.value.errors] == ["body"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=10,
)  # fmt: skip


@given(value=JSON)
def test_all_other_json_says_what_it_says(value: Any) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("text", "number"), [(b"2.0", 2), (b"2e3", 2000), (b"-0.0", 0), (b"2.5", 2.5), (b"1e300", 1e300)]
)
def test_a_whole_number_is_one_however_it_is_written(text: bytes, number: float) -> None:
    found = parse(text)
    assert (found, type(found)) == (number, type(number))


@given(body=st.binary(max_size=100))
def test_no_bytes_are_anything_but_json_or_refused(body: bytes) -> None:
    with suppress(ProblemError):
        parse(body)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/merge-patch+json",
        "application/x-www-form-urlencoded",
        "text/plain;charset=UTF-8",
        "",
    ],
)
def test_json_by_any_of_its_names_and_by_none_is_read(api: Api, media_type: str) -> None:
    assert api.ask("PUT", ALGORITHM, {"algorithm": "random"}, content_type=media_type).status == 200


def test_a_body_that_does_not_say_what_it_is_is_read_as_json(api: Api) -> None:
    fields = [("host", "localhost"), ("authorization", f"Bearer {api.token()}")]
    assert api.call("PUT", ALGORITHM, fields, b'{"algorithm": "random"}').status == 200


def test_a_form_is_no_json(api: Api) -> None:
    answer = api.ask("PUT", ALGORITHM, b"algorithm=random", content_type="application/x-www-form-urlencoded")
    assert answer.status == 422


@pytest.mark.parametrize(
    "fields",
    [
        {"content_type": "multipart/form-data; boundary=x"},
        {"content_type": "application/octet-stream"},
        {"content_type": "application/xml"},
        {"content_type": "text/json"},
        {"content_type": "application/jsonx"},
        {"content_type": "application/a/b+json"},
        {"content_type": "json"},
        {"content_encoding": "gzip"},
    ],
)
def test_another_media_type_is_refused_with_the_one_that_is_taken(api: Api, fields: dict[str, str]) -> None:
    answer = api.ask("PUT", ALGORITHM, {"algorithm": "random"}, **fields)
    assert answer.status == 415
    assert "Content-Type: application/json" in answer.detail
    assert answer.get("accept") == "application/json"


def test_a_route_without_a_body_does_not_look_at_one(api: Api) -> None:
    assert api.ask("POST", "/v1/reload", b"anything", content_type="text/plain").status == 200

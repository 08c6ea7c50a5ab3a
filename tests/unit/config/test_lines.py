import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.config.lines import locate
from equipoise.config.problems import Place

TEXT = '''\
# a comment with [a.table] and key = 1
top = 1 # [x]
quoted."a.b".'c d' = "x # = ["

list = [ # not an entry
  "one", # one
  # two = "is no key"
  "two", [
    3, 4,
  ],
]
long = """
first = 1
[no.table]
"quoted" \\""" ""still\""""
after_long = 1
raw = \'\'\'
second = 1
it''s\'\'\'\'
after_raw = 1
day = 2020-01-01 10:00:00
[table]
key = { inner = 1, list = [
  1,
  2 ] }
[ table . "sub.table" ]
key = 1
[[many]]
key = 1
[many.deeper]
key = 1
[[many]]
key = 1
[[many.inner]]
[[many.inner]]
key = 1
'''


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("top",), 2),
        (("quoted", "a.b", "c d"), 3),
        (("list",), 5),
        (("list", 0), 6),
        (("list", 1), 8),
        (("list", 2), 8),
        (("list", 2, 0), 9),
        (("list", 2, 1), 9),
        (("long",), 12),
        (("after_long",), 16),
        (("after_raw",), 20),
        (("day",), 21),
        (("table",), 22),
        (("table", "key", "inner"), 23),
        (("table", "key", "list", 1), 25),
        (("table", "sub.table"), 26),
        (("table", "sub.table", "key"), 27),
        (("many", 0), 28),
        (("many", 0, "key"), 29),
        (("many", 0, "deeper", "key"), 31),
        (("many", 1), 32),
        (("many", 1, "inner", 0), 34),
        (("many", 1, "inner", 1), 35),
        (("many", 1, "inner", 1, "key"), 36),
    ],
)
def test_a_place_has_the_line_on_which_it_begins(place: Place, line: int) -> None:
    tomllib.loads(TEXT)  # the text is valid, or the test means nothing
    assert locate(TEXT).get(place) == line


@pytest.mark.parametrize("place", [("first",), ("second",), ("no", "table"), ("a", "table"), ("list", 3), ("x",)])
def test_what_is_no_place_has_no_line(place: Place) -> None:
    assert place not in locate(TEXT)


def test_line_ends_of_windows_count_once() -> None:
    assert locate('a = """\r\n\r\n"""\r\nb = 1\r\n')["b",] == 4


def test_an_unknown_text_ends_the_walk_with_what_was_found() -> None:
    assert locate("a = 1\n[[b]\nc = 1") == {("a",): 1}


KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\x7f", categories=("L", "N", "P", "S", "Zs")))
VALUES = st.recursive(
    st.integers() | st.booleans() | KEYS.map(lambda text: text + "#]}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.integers(0, 3))
def test_every_place_of_any_document_is_found_on_its_line(data: dict[str, object], gap: int) -> None:
    text, lines = "", {}
    for key, value in data.items():
        text += "\n" * gap
        lines[key] = text.count("\n") + 1
        text += f"{quoted(key)} = {written(value)} # comment = [\n"
    assert tomllib.loads(text) == data
    assert locate(text) == {
        place: lines[str(place[0])] for key, value in data.items() for place in places(value, (key,))
    }


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def written(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(written(item) for item in value) + "]"
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def places(value: object, place: Place) -> list[Place]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(deeper for key, item in inner for deeper in places(item, (*place, key)))]

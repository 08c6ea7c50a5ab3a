"""The configuration file: any value anywhere is taken as it says, or refused at its place and on its line.

The schema itself says which keys there are, so a new one is tested as soon as it is there.
"""

import copy
import datetime as dt
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import inspect

from equipoise.config.decode import bare, decode, plain
from equipoise.config.load import ConfigError, parse
from equipoise.config.problems import Place, Problem, dotted
from equipoise.config.schema import Config

# Every table of the schema at least once.
FILE: Final = """
workers = 2
[[listeners]]
address = "127.0.0.1:8080"
[[listeners]]
address = "127.0.0.1:8443"
tls = { certificates = [{ certificate_file = "b.pem", key_file = "b.key" }] }
[pools.web]
targets = ["http://127.0.0.1:9001", { url = "http://127.0.0.1:9002", name = "b", weight = 2 }]
[pools."a.b:c"]
targets = ["https://127.0.0.1:9003"]
[[routes]]
pool = "web"
host = "a.test"
path = "/a"
"""
NO_VALUE: Final = dt.date(2026, 1, 1)
UNIT: Final = {"duration": ("ms", 1000), "size": ("", 1)}
WORDS: Final = st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=20)


@dataclass(frozen=True)
class Key:
    """A key of the file that holds no table: where it is, and of which type."""

    place: Place
    kind: inspect.Type
    leaf: str

    def __repr__(self) -> str:
        return dotted(self.place)

    @property
    def bounds(self) -> tuple[float, float] | None:
        if not isinstance(self.kind, inspect.IntType | inspect.FloatType) or self.kind.ge is None:
            return None
        assert self.kind.le is not None, "a number without an upper bound"
        return self.kind.ge, self.kind.le

    @property
    def is_whole(self) -> bool:
        return isinstance(self.kind, inspect.IntType)

    def written(self, number: float) -> object:
        """A number as the file says it."""
        if self.leaf in UNIT:
            unit, per_one = UNIT[self.leaf]
            return f"{round(number * per_one)}{unit}" if unit else round(number)
        return round(number) if self.is_whole else number


def keys(info: inspect.Type, value: object, place: Place = ()) -> Iterator[Key]:
    """Of a file in its plain form."""
    kind, extra = bare(info)
    match kind, value:
        case inspect.StructType(fields=fields), dict():
            for field in fields:
                if field.encode_name in value:
                    yield from keys(field.type, value[field.encode_name], (*place, field.encode_name))
        case inspect.DictType(value_type=item), dict():
            for name, entry in value.items():
                yield from keys(item, entry, (*place, name))
        case inspect.VarTupleType(item_type=item), list() if value and isinstance(value[0], dict):
            for index, entry in enumerate(value):
                yield from keys(item, entry, (*place, index))
        case inspect.UnionType(types=types), dict():
            yield from keys(next(each for each in types if isinstance(bare(each)[0], inspect.StructType)), value, place)
        case _:
            yield Key(place, kind, str(extra.get("leaf", "")))


def tables(value: object, place: Place = ()) -> Iterator[Place]:
    """The tables whose keys the schema names."""
    if isinstance(value, dict):
        if place != ("pools",):
            yield place
        for name, entry in value.items():
            yield from tables(entry, (*place, name))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from tables(entry, (*place, index))


def whole() -> Any:
    """The file with every default written out, one's own to change."""
    return copy.deepcopy(WHOLE)


def changed(place: Place, value: object) -> Any:
    """Likewise, with one value put in."""
    root = at = whole()
    for part in place[:-1]:
        at = at[part]
    at[place[-1]] = value
    return root


def problems(data: Mapping[str, object]) -> list[tuple[Place, str]]:
    found: list[tuple[Place, str]] = []
    decode(data, lambda place, message: found.append((place, message)))
    return found


def names(info: inspect.Type) -> set[str]:
    """Of every key of the schema."""
    kind, _ = bare(info)
    match kind:
        case inspect.StructType(fields=fields):
            return {field.encode_name for field in fields}.union(*(names(field.type) for field in fields))
        case inspect.VarTupleType(item_type=item) | inspect.DictType(value_type=item):
            return names(item)
        case inspect.UnionType(types=types):
            return set().union(*map(names, types))
        case _:
            return set()


SCHEMA: Final = inspect.type_info(Config)
NAMES: Final = names(SCHEMA)
WHOLE: Final = plain(parse(FILE, {}))
KEYS: Final = sorted(keys(SCHEMA, WHOLE), key=repr)
NUMBERS: Final = [key for key in KEYS if key.bounds]
TABLES: Final = sorted(tables(WHOLE), key=dotted)
# By the type of a key, values of its own kind that it does not take.
MISFITS: Final[Mapping[type, tuple[object, ...]]] = {
    inspect.BoolType: ("true", 1, 0),
    inspect.IntType: ("1.5", True, 1.5, [1]),
    inspect.FloatType: ("x", True, [1.0]),
    inspect.LiteralType: ("no such word", 7, True),
    inspect.StrType: (7, True, ["a"]),
    inspect.VarTupleType: (7, True, {"a": 1}),
}


def toml(value: object) -> str:
    """A value on one line."""
    match value:
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case dt.date():
            return value.isoformat()
        case _:
            return json.dumps(value, ensure_ascii=False)


def lines(data: object, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """A file as text, a line for each key; a list stays on one."""
    if isinstance(data, dict):
        for name, item in data.items():
            yield from lines(item, (*place, name))
    else:
        yield place, f"{dotted(place)} = {toml(data)}"


def refused(text: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        parse(text, {})
    return caught.value.problems


def test_the_file_holds_every_key_of_the_schema() -> None:
    """What the properties below are about; a key without a default value belongs into `FILE`."""
    named = {part for place in (*(key.place for key in KEYS), *TABLES) for part in place}
    assert NAMES - named - {"listen"} == set()


@given(st.sampled_from(KEYS), st.data())
def test_a_value_of_another_type_is_refused_at_its_place_alone(key: Key, data: st.DataObject) -> None:
    value = data.draw(st.sampled_from([NO_VALUE, *([] if key.leaf else MISFITS.get(type(key.kind), ()))]))
    found = problems(changed(key.place, value))
    # Of a list that may be a single value, it is the value that is wrong.
    assert [place for place, _ in found] == [key.place]
    assert found[0][1]


@given(st.sampled_from(KEYS))
def test_a_wrong_value_is_named_with_its_line(key: Key) -> None:
    written = list(lines(changed(key.place, NO_VALUE)))
    path = dotted(key.place)
    line = next(n for n, (place, _) in enumerate(written, 1) if place == key.place[: len(place)])
    found = refused("\n".join(text for _, text in written))
    assert (path, line) in {(problem.path, problem.line) for problem in found}


@given(st.sampled_from(NUMBERS), st.floats(0, 1))
def test_a_number_within_its_bounds_is_taken_as_it_is(key: Key, share: float) -> None:
    assert key.bounds is not None
    low, high = key.bounds
    number = low + (high - low) * share
    # What is written may be rounded over a bound by a fraction.
    data = changed(key.place, key.written(min(max(number, math.ceil(low) if key.is_whole else low), high)))
    found: list[tuple[Place, str]] = []
    config = decode(data, lambda place, message: found.append((place, message)))
    assert found == []
    again = plain(config)
    assert isinstance(again, dict)
    assert decode(again, lambda place, message: found.append((place, message))) == config
    assert found == []


@given(st.sampled_from(NUMBERS), st.integers(1, 1000), st.booleans())
def test_a_number_beyond_its_bounds_is_refused_with_them(key: Key, far: int, above: bool) -> None:
    assert key.bounds is not None
    low, high = key.bounds
    number = high + far if above else low - far
    assume(number >= 0 or not key.leaf)
    ((place, message),) = problems(changed(key.place, key.written(number)))
    assert place == key.place
    assert "from " in message


@given(st.sampled_from([key for key in NUMBERS if not key.leaf]), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_what_is_no_number_is_within_no_bounds(key: Key, number: float) -> None:
    assert [place for place, _ in problems(changed(key.place, number))] == [key.place]


@given(st.sampled_from(TABLES), WORDS.filter(bool), st.integers() | WORDS | st.just({}))
def test_a_key_that_nobody_knows_is_refused_wherever_it_is(table: Place, key: str, value: object) -> None:
    at = whole()
    for part in table:
        at = at[part]
    assume(key not in at and key not in NAMES)
    ((place, message),) = problems(changed((*table, key), value))
    assert place == (*table, key)
    assert message.startswith("unknown key")


@given(WORDS)
def test_a_value_of_the_environment_is_a_value_and_nothing_else(value: str) -> None:
    config = parse(FILE + '[admin.jwt]\nissuer = "${ISSUER}"\n', {"ISSUER": value})
    assert config.admin.jwt.issuer == value
    plain_again = plain(config)
    assert isinstance(plain_again, dict)
    assert plain_again["limits"] == whole()["limits"]


@given(WORDS)
def test_a_text_is_taken_to_the_letter_with_its_references_escaped(value: str) -> None:
    written = toml(value.replace("${", "$${"))
    assert parse(FILE + f"[admin.jwt]\nissuer = {written}\n", {"ISSUER": "x"}).admin.jwt.issuer == value


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_refused_with_words(text: str) -> None:
    for each in refused(text):
        assert each.message
        assert each.line is None or 1 <= each.line <= text.count("\n") + 1

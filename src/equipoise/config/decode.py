"""Between the values of a TOML file and the structs of the schema, guided by the schema alone.

Owns: reading with every problem collected, and writing back what was read.
Refuses to know: any key by name, and how keys relate to each other.
"""

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from msgspec import inspect

from equipoise.config.leaves import LEAVES, nearest
from equipoise.config.problems import Place
from equipoise.config.schema import Config

_SHOWN: Final = 60
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")

Report = Callable[[Place, str], None]


class Expanded(str):
    """A string that holds a value from the environment: it may stand for a number, and it may be secret."""

    __slots__ = ()


class StandIn(str):
    """The empty string in the place of one that could not be read."""

    __slots__ = ()


def decode(data: Mapping[str, object], report: Report) -> Config:
    """The file as a struct. What is wrong is reported, and a default or an empty value stands in its place.

    The result is fit for further checks and, when nothing was reported, for use.
    """
    config = _Reader(report).read(inspect.type_info(Config), data, ())
    assert isinstance(config, Config)
    return config


def decode_as(kind: Any, value: object, place: Place, report: Report) -> Any:
    """One part of the file, of a type of the schema; `place` is where it would stand. Otherwise as `decode`."""
    return _Reader(report).read(inspect.type_info(kind), value, place)


def plain(value: object) -> object:
    """The same in the file's own terms, defaults filled in: what JSON and TOML can hold."""
    return plain_as(inspect.type_info(type(value)), value)


def shown(value: object) -> str:
    """A value as a message may repeat it: short, on one line, and not when it may be secret."""
    if isinstance(value, str):
        # "@" stands behind a password in a URL.
        if isinstance(value, Expanded) or "@" in value:
            return "the value"
        return json.dumps(value if len(value) <= _SHOWN else value[:_SHOWN] + "...")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**18 else "the number"
    if isinstance(value, float):
        return str(value)
    if isinstance(value, dt.date | dt.time):
        return "a date or time"
    return "a table" if isinstance(value, dict) else "a list"


def bare(info: inspect.Type) -> tuple[inspect.Type, Mapping[str, Any]]:
    """A type without its annotation, and what the annotation says beside descriptions."""
    if isinstance(info, inspect.Metadata):
        return info.type, info.extra or {}
    return info, {}


class _Reader:
    def __init__(self, report: Report) -> None:
        self._report = report

    def read(self, info: inspect.Type, value: object, place: Place) -> Any:
        """The value as its type wants it, or a stand-in after a report."""
        kind, extra = bare(info)
        if "leaf" in extra:
            return self._leaf(kind, extra["leaf"], value, place)
        match kind:
            case inspect.StructType():
                return self._struct(kind, value, place)
            case inspect.VarTupleType(item_type=item):
                return self._list(item, value, place, one="one" in extra)
            case inspect.DictType(key_type=key, value_type=item):
                return self._tables(key, item, value, place)
            case inspect.UnionType(types=types):
                member = next((bare(member)[0] for member in types if _fits(member, _unfolded(member, value))), kind)
                return self._scalar(kind, value, place) if member is kind else self.read(member, value, place)
            case _:
                return self._scalar(kind, value, place)

    def _leaf(self, kind: inspect.Type, name: str, value: object, place: Place) -> Any:
        leaf = LEAVES[name]
        try:
            parsed = leaf.parse(value)
        except ValueError as error:
            self._report(place, f"{shown(value)} {error}")
            return stand_in(kind)
        if not _in_range(kind, parsed):
            self._report(place, f"must be {_range(kind, leaf.show)}, not {shown(value)}")
        return parsed

    def _struct(self, kind: inspect.StructType, value: object, place: Place) -> Any:
        shorthand = getattr(kind.cls, "SHORTHAND", None)
        if isinstance(value, str) and shorthand:
            field = next(field for field in kind.fields if field.name == shorthand)
            return kind.cls(**{shorthand: self.read(field.type, value, place)})
        if not isinstance(value, dict):
            self._report(place, f"must be a table{' or a string' if shorthand else ''}, not {shown(value)}")
            return stand_in(kind)
        known = {field.encode_name: field for field in kind.fields}
        values: dict[str, Any] = {}
        for key, item in value.items():
            if key in known:
                values[known[key].name] = self.read(known[key].type, item, (*place, key))
            else:
                self._report((*place, key), f"unknown key{nearest(key, known)}")
        for field in kind.fields:
            if field.required and field.name not in values:
                self._report((*place, field.encode_name), "is missing")
                values[field.name] = stand_in(field.type)
        return kind.cls(**values)

    def _list(self, item: inspect.Type, value: object, place: Place, *, one: bool) -> tuple[Any, ...]:
        if one and not isinstance(value, list):
            return (self.read(item, value, place),)
        if not isinstance(value, list):
            self._report(place, f"must be a list, not {shown(value)}")
            return ()
        return tuple(self.read(item, entry, (*place, index)) for index, entry in enumerate(value))

    def _tables(self, key: inspect.Type, item: inspect.Type, value: object, place: Place) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._report(place, f"must be a table, not {shown(value)}")
            return {}
        for name in value:
            self.read(key, name, (*place, name))
        return {name: self.read(item, entry, (*place, name)) for name, entry in value.items()}

    def _scalar(self, kind: inspect.Type, value: object, place: Place) -> Any:
        found = _unfolded(kind, value)
        if _fits(kind, found):
            if isinstance(kind, inspect.FloatType):
                return float(cast("float", found))
            return str(found) if isinstance(found, str) else found
        self._report(place, f"must be {_wanted(kind)}, not {shown(value)}")
        return stand_in(kind)


def stand_in(info: inspect.Type) -> Any:
    """An empty value of the type, for a place where the file has nothing usable."""
    kind, _ = bare(info)
    match kind:
        case inspect.StructType(cls=cls, fields=fields):
            return cls(**{field.name: stand_in(field.type) for field in fields if field.required})
        case inspect.VarTupleType():
            return ()
        case inspect.StrType() | inspect.LiteralType():
            return StandIn()
        case inspect.BoolType():
            return False
        case inspect.UnionType(types=types):
            return stand_in(types[0])
        case _:
            return 0


def _fits(info: inspect.Type, value: object) -> bool:
    """Whether a value is of the type; of tables and lists only the outside is looked at."""
    kind, _ = bare(info)
    match kind:
        case inspect.StructType():
            return isinstance(value, dict)
        case inspect.VarTupleType():
            return isinstance(value, list)
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool) and _in_range(kind, value)
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool) and _in_range(kind, value)
        case inspect.LiteralType(values=values):
            return value in values
        case inspect.StrType(min_length=shortest):
            return isinstance(value, str) and len(value) >= (shortest or 0)
        case _:
            return False


def _unfolded(info: inspect.Type, value: object) -> object:
    """An expanded string as the number or truth value that its place asks for, where it is one."""
    if not isinstance(value, Expanded):
        return value
    kind, _ = bare(info)
    match kind:
        case inspect.IntType() if _INTEGER.fullmatch(value):
            return int(value)
        case inspect.FloatType() if _NUMBER.fullmatch(value):
            return float(value)
        case inspect.BoolType() if value in {"true", "false"}:
            return value == "true"
        case _:
            return value


def _in_range(kind: inspect.Type, value: Any) -> bool:
    # Written so that "not a number" is out of every range.
    low, high = _bounds(kind)
    return (low is None or value >= low) and (high is None or value <= high)


def _bounds(kind: inspect.Type) -> tuple[float | None, float | None]:
    return (kind.ge, kind.le) if isinstance(kind, inspect.IntType | inspect.FloatType) else (None, None)


def _range(kind: inspect.Type, show: Callable[[Any], object] = str) -> str:
    low, high = _bounds(kind)
    return "" if low is None or high is None else f"from {show(low)} to {show(high)}"


def _wanted(info: inspect.Type) -> str:
    kind, _ = bare(info)
    match kind:
        case inspect.StructType():
            return "a table"
        case inspect.VarTupleType():
            return "a list"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return f"a whole number {_range(kind)}".rstrip()
        case inspect.FloatType():
            return f"a number {_range(kind)}".rstrip()
        case inspect.LiteralType(values=values):
            return f"{'one of ' if len(values) > 1 else ''}{', '.join(json.dumps(value) for value in values)}"
        case inspect.StrType(min_length=shortest):
            return "a string that is not empty" if shortest else "a string"
        case inspect.UnionType(types=types):
            return " or ".join(_wanted(item) for item in types if not isinstance(item, inspect.NoneType))
        case _:
            raise TypeError(f"the schema has a type that is not read here: {kind}")


def _is_struct(info: inspect.Type, value: object) -> bool:
    kind, _ = bare(info)
    return isinstance(kind, inspect.StructType) and isinstance(value, kind.cls)


def plain_as(info: inspect.Type, value: Any) -> Any:
    """A value of one type in the file's own terms."""
    kind, extra = bare(info)
    if "leaf" in extra:
        return LEAVES[extra["leaf"]].show(value)
    match kind:
        case inspect.StructType(fields=fields):
            shown_fields = ((field, getattr(value, field.name)) for field in fields)
            return {field.encode_name: plain_as(field.type, item) for field, item in shown_fields if item is not None}
        case inspect.VarTupleType(item_type=item):
            return [plain_as(item, entry) for entry in value]
        case inspect.DictType(value_type=item):
            return {key: plain_as(item, entry) for key, entry in value.items()}
        case inspect.UnionType(types=types):
            as_file = list(value) if isinstance(value, tuple) else value
            member = next((item for item in types if _is_struct(item, value) or _fits(item, as_file)), None)
            return value if member is None else plain_as(member, value)
        case _:
            return value

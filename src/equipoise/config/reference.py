"""What the schema says, for people and for tools.

Owns: the reference page and the JSON Schema. `python -m equipoise.config.reference` prints the page, and with `--json`
the JSON Schema.
Refuses to know: any key by name; both are made from the annotations in `schema`.
"""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from msgspec import inspect

from equipoise.config.decode import bare, plain_as
from equipoise.config.leaves import LEAVES
from equipoise.config.schema import Config

_PREFACE: Final = """\
<!-- Made by `python -m equipoise.config.reference`; change src/equipoise/config/schema.py instead. -->

# The configuration file

One TOML file says everything. The smallest that works:

```toml
listen = "0.0.0.0:8080"
[pools.default]
targets = ["http://10.0.0.1:9001", "http://10.0.0.2:9001"]
```

- A **duration** is a string with a unit: `"250ms"`, `"5s"`, `"5m"`, `"1h"`.
- A **size** is a string with a unit (`"64KiB"`, `"10MB"`), or a number of bytes.
- `${NAME}` in a string stands for the environment variable; `$${` stands for `${` itself. Where a number or a truth
  value is wanted, a string made this way may hold it: `workers = "${WORKERS}"`.
- An unknown key is an error. `equipoise check` reports all problems at once, each with its place and line.
"""


def page() -> str:
    """The reference page, Markdown."""
    sections = [
        f"\n## {f'`{header}`' if header else 'Top level'}\n\n{_first_line(kind)}\n\n{_rows(kind)}"
        for header, kind in _tables(_struct(Config), "")
    ]
    return _PREFACE + "".join(sections)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file."""
    schema = msgspec.json.schema(Config)
    for _, kind in _tables(_struct(Config), ""):
        properties = schema["$defs"][kind.cls.__name__]["properties"]
        for field in kind.fields:
            made = _property(field.type, properties[field.encode_name])
            made.pop("default", None)
            if not field.required:
                made["default"] = _default(field)
            properties[field.encode_name] = made
    return schema


def _property(info: inspect.Type, made: dict[str, Any]) -> dict[str, Any]:
    """One property as the file writes it, from what msgspec made of the type that is kept."""
    kind, extra = bare(info)
    notes: dict[str, Any] = {"description": made["description"]} if "description" in made else {}
    if "leaf" in extra:
        return {**LEAVES[extra["leaf"]].schema, **notes}
    if isinstance(kind, inspect.VarTupleType):
        items = _property(kind.item_type, made["items"])
        item, _ = bare(kind.item_type)
        if isinstance(item, inspect.StructType) and hasattr(item.cls, "SHORTHAND"):
            items = {"anyOf": [{"type": "string"}, items]}
        array = {"type": "array", "items": items}
        return {**({"anyOf": [items, array]} if "one" in extra else array), **notes}
    return made


def _tables(kind: inspect.StructType, header: str) -> Iterator[tuple[str, inspect.StructType]]:
    """Every table of the file with its header, the outer ones first."""
    yield header, kind
    for field in kind.fields:
        inner, _ = bare(field.type)
        name = f"{header.strip('[]')}.{field.encode_name}".lstrip(".")
        match inner:
            case inspect.StructType():
                yield from _tables(inner, f"[{name}]")
            case inspect.DictType(value_type=inspect.StructType() as item):
                yield from _tables(item, f"[{name}.NAME]")
            case inspect.VarTupleType(item_type=inspect.StructType() as item):
                yield from _tables(item, f"[[{name}]]")
            case inspect.UnionType(types=(inspect.StructType() as item, *_)):
                yield from _tables(item, f"[{name}]")
            case _:
                continue


def _rows(kind: inspect.StructType) -> str:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for field in kind.fields:
        words = (_type(field.type), "required" if field.required else _code(_default(field)), _description(field))
        lines.append(f"| `{field.encode_name}` | " + " | ".join(words) + " |")
    return "\n".join(lines) + "\n"


def _type(info: inspect.Type) -> str:
    kind, extra = bare(info)
    name = ""
    show: Callable[[Any], object] = _number
    if "leaf" in extra:
        name, show = LEAVES[extra["leaf"]].says, LEAVES[extra["leaf"]].show
    match kind:
        case inspect.StructType() | inspect.DictType():
            return "table"
        case inspect.UnionType(types=types):
            return " or ".join(_type(item) for item in types if not isinstance(item, inspect.NoneType))
        case inspect.VarTupleType(item_type=item) if not name:
            return f"{f'{_type(item)}, or ' if 'one' in extra else ''}list of {_plural(item)}"
        case inspect.LiteralType(values=values):
            return ", ".join(_code(value) for value in values)
        case inspect.BoolType():
            return "truth value"
        case inspect.IntType(ge=low, le=high) | inspect.FloatType(ge=low, le=high):
            kept = name or ("whole number" if isinstance(kind, inspect.IntType) else "number")
            return kept if low is None or high is None else f"{kept}, {show(low)} to {show(high)}"
        case _:
            return name or "string"


def _number(value: object) -> object:
    return f"{value:g}" if isinstance(value, float) else value


def _plural(item: inspect.Type) -> str:
    kind, extra = bare(item)
    if isinstance(kind, inspect.StructType):
        return "URLs or tables" if hasattr(kind.cls, "SHORTHAND") else "tables"
    if isinstance(kind, inspect.LiteralType):
        return _type(kind)
    return {"method": "methods", "header": "header names", "address": "addresses", "status_range": "these"}.get(
        extra.get("leaf", ""), "statuses"
    )


def _default(field: inspect.Field) -> object:
    value = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    return plain_as(field.type, value)


def _code(value: object) -> str:
    """Tables have their own section, and nothing is shown as nothing."""
    return "" if value is None or value == "" or isinstance(value, dict) else f"`{json.dumps(value)}`"


def _description(field: inspect.Field) -> str:
    notes = field.type.extra_json_schema if isinstance(field.type, inspect.Metadata) else None
    return str((notes or {})["description"]).replace("|", "\\|")


def _first_line(kind: inspect.StructType) -> str:
    return (kind.cls.__doc__ or "").strip().partition("\n")[0]


def _struct(cls: type) -> inspect.StructType:
    kind = inspect.type_info(cls)
    assert isinstance(kind, inspect.StructType)
    return kind


if __name__ == "__main__":
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n" if "--json" in sys.argv else page())

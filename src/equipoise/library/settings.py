"""From what a program hands over to a file that `equipoise run` reads.

Owns: the kinds of configuration that are taken, the values for what they leave open, and TOML written from plain data.
Refuses to know: what any other key means (config), and who reads the file.
"""

import datetime as dt
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from equipoise.config.addresses import Address, parse_address
from equipoise.config.decode import plain
from equipoise.config.lines import locate
from equipoise.config.load import ConfigError, Problem, parse
from equipoise.config.problems import Place, dotted
from equipoise.config.schema import Config
from equipoise.runtime.tls_files import Reading

__all__ = ["Configuration", "Settings", "settle"]

Configuration = Mapping[str, Any] | str | os.PathLike[str] | Config
"""A table as TOML has it, the text of a file, the path of one, or values that were read already."""

SYSTEM_CHOOSES: Final = "127.0.0.1:0"
WORKERS: Final = 1
DRAIN_TIMEOUT: Final = "5s"


@dataclass(frozen=True)
class Settings:
    """A configuration that was read and found good.

    Attributes:
        text: the file for the balancer.
        config: what it says.
    """

    text: str
    config: Config


def settle(configuration: Configuration, folder: Path, *, free_ports: bool = False) -> Settings:
    """Read, complete and check a configuration.

    What it leaves open suits a balancer that lives inside another program: `listen` and `[admin] listen` get ports that
    the system chooses, on the loopback address; `state_dir` is in `folder`; there is one worker, and a drain takes 5 s
    at most. Paths in it are relative to the current directory, as for `equipoise run`.

    Args:
        configuration: in any of its forms. A string without a line break that ends in `.toml` is a path.
        folder: for the balancer's own files.
        free_ports: let the system choose all ports, on the loopback address, whatever the configuration says.

    Raises:
        ConfigError: with every problem, at its place; with its line where the configuration is a text or a file.
        TypeError: the configuration is of no known form, or holds a value that TOML has no form for.
    """
    table, source = _read(configuration)
    text = toml(_completed(table, folder, free_ports=free_ports))
    try:
        config = parse(text, os.environ, examine=Reading().examine)
    except ConfigError as error:
        lines = {dotted(place): line for place, line in locate(source).items()}
        problems = [Problem(each.path, each.message, lines.get(each.path)) for each in error.problems]
        raise ConfigError(sorted(problems, key=lambda problem: problem.line or 0)) from None
    return Settings(text, config)


def _read(configuration: Configuration) -> tuple[dict[str, Any], str]:
    """The table, and the text that people know it by; none when it is no text."""
    match configuration:
        case Config():
            return _escaped(plain(configuration)), ""
        case Mapping():
            return dict(configuration), ""
        case str() if configuration.endswith(".toml") and "\n" not in configuration:
            return _parsed(_file(Path(configuration)))
        case str():
            return _parsed(configuration)
        case os.PathLike():
            return _parsed(_file(Path(configuration)))
        case _:
            raise TypeError(
                "a configuration is a table (dict), a text in TOML, a path, or an equipoise.config.schema.Config; "
                f"this is a {type(configuration).__name__}"
            )


def _file(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ConfigError([Problem("", f"cannot read {path}: {error.strerror or error}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Problem("", f"{path} is not UTF-8")]) from error


def _parsed(text: str) -> tuple[dict[str, Any], str]:
    try:
        return tomllib.loads(text), text
    except (ValueError, RecursionError):
        parse(text, {})  # says what is wrong, and where
        raise


def _completed(table: Mapping[str, Any], folder: Path, *, free_ports: bool) -> dict[str, Any]:
    """With values for what it leaves open. What is of a wrong type stays as it is, for the check to name."""
    found = dict(table)
    if "listen" not in found and "listeners" not in found:
        found["listen"] = SYSTEM_CHOOSES
    found.setdefault("workers", WORKERS)
    found.setdefault("state_dir", str(folder / "state"))
    found["admin"] = _with(found.get("admin", {}), "listen", SYSTEM_CHOOSES)
    found["limits"] = _with(found.get("limits", {}), "drain_timeout", DRAIN_TIMEOUT)
    if free_ports:
        found["admin"] = _with(found["admin"], "listen", SYSTEM_CHOOSES, replace=True)
        listen = found.get("listen", [])
        found["listen"] = [_freed(each) for each in listen] if isinstance(listen, list | tuple) else _freed(listen)
        listeners = found.get("listeners", [])
        if isinstance(listeners, list | tuple):
            found["listeners"] = [_with(each, "address", SYSTEM_CHOOSES, replace=True) for each in listeners]
    return found


def _freed(address: object) -> object:
    """The address with another port; one that is none stays, for the check to name."""
    try:
        parse_address(str(address))
    except ValueError:
        return address
    return str(Address("127.0.0.1", 0))


def _with(table: object, key: str, value: object, *, replace: bool = False) -> object:
    if not isinstance(table, Mapping) or (key in table and not replace):
        return table
    return {**table, key: value}


def _escaped(value: Any) -> Any:
    """What was read already must not be expanded once more."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, Mapping):
        return {key: _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list | tuple) else value


# TOML


def toml(table: Mapping[str, object]) -> str:
    """A document of TOML with one line for each key at the top, and inline tables below.

    Raises:
        TypeError: a value or key has no form in TOML; names its place.
    """
    return "".join(f"{_key(key, ())} = {_value(item, (key,))}\n" for key, item in table.items())


def _value(value: object, place: Place) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str() | os.PathLike():
            return _quoted(os.fspath(value) if isinstance(value, os.PathLike) else value, place)
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case Mapping():
            pairs = (f"{_key(key, place)} = {_value(item, (*place, str(key)))}" for key, item in value.items())
            return "{" + ", ".join(pairs) + "}"
        case Sequence() if not isinstance(value, bytes | bytearray):
            return "[" + ", ".join(_value(item, (*place, index)) for index, item in enumerate(value)) + "]"
        case None:
            raise TypeError(f"{dotted(place)} is None, which TOML has no form for; leave the key out")
        case _:
            raise TypeError(f"{dotted(place)} is a {type(value).__name__}, which TOML has no form for")


def _key(key: object, place: Place) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{dotted(place) or 'the table'} has the key {key!r}; keys are strings")
    return _quoted(key, place)


def _quoted(text: object, place: Place) -> str:
    if not isinstance(text, str):  # a path of bytes
        raise TypeError(f"{dotted(place)} is a path of bytes; give it as text")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise TypeError(f"{dotted(place)} holds half of a surrogate pair, which is no text")
    # JSON's form of a string is one of TOML's, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

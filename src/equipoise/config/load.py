"""From a file to a `Config`, or to every reason why not.

Owns: the order of the steps: text, TOML, environment, schema, defaults from outside, rules between keys.
Refuses to know: any of the steps in detail.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from equipoise.config.addresses import parse_url
from equipoise.config.checks import check
from equipoise.config.decode import Expanded, Report, decode
from equipoise.config.lines import locate
from equipoise.config.problems import ConfigError, Place, Problem, dotted
from equipoise.config.schema import Config, PoolConfig, TargetConfig

__all__ = ["ConfigError", "Problem", "load", "parse"]

Examine = Callable[[Config, Report], None]

_REFERENCE: Final = re.compile(r"(\$?)\$\{([^}]*)(\}?)")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SYNTAX_PLACE: Final = re.compile(r"(.*) \(at line ([0-9]+), column ([0-9]+)\)", re.DOTALL)


def load(path: Path, env: Mapping[str, str] = os.environ, examine: Examine | None = None) -> Config:
    """Read, expand and check a file.

    Args:
        path: the file.
        env: what `${NAME}` stands for.
        examine: looks at what the configuration names outside of itself, files above all, and reports problems.

    Raises:
        ConfigError: with every problem.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror or error}"
        raise ConfigError([Problem("", message)]) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem("", f"{path} is not UTF-8", line)]) from error
    return parse(text, env, examine)


def parse(text: str, env: Mapping[str, str], examine: Examine | None = None) -> Config:
    """The same for a text."""
    data = _toml(text)
    found: list[tuple[Place, str]] = []

    def report(place: Place, message: str) -> None:
        # What follows from a problem at the same place is no news.
        if all(place != other for other, _ in found):
            found.append((place, message))

    try:
        expanded = {key: _expanded(value, (key,), env, report) for key, value in data.items()}
    except RecursionError as error:  # a key with thousands of dots
        raise ConfigError([Problem("", "nested too deeply")]) from error
    config = _completed(decode(expanded, report), env)
    check(config, report)
    if examine is not None:
        examine(config, report)
    if found:
        raise ConfigError(_problems(found, text))
    return config


def _toml(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _SYNTAX_PLACE.fullmatch(str(error))
        if match is None:
            problem = Problem("", f"not valid TOML: {error}")
        else:
            problem = Problem("", f"not valid TOML: {match[1]}, column {match[3]}", int(match[2]))
        raise ConfigError([problem]) from error
    except ValueError as error:  # a number with thousands of digits
        raise ConfigError([Problem("", f"not valid TOML: {error}")]) from error
    except RecursionError as error:
        raise ConfigError([Problem("", "not valid TOML: nested too deeply")]) from error


def _expanded(value: object, place: Place, env: Mapping[str, str], report: Report) -> object:
    """The value with `${NAME}` replaced in all strings; a list or table is looked through."""
    if isinstance(value, dict):
        return {key: _expanded(item, (*place, key), env, report) for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item, (*place, index), env, report) for index, item in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    from_env = False

    def substitute(match: re.Match[str]) -> str:
        nonlocal from_env
        escape, name, closing = match.groups()
        if escape:
            return match[0][1:]
        from_env = True
        if not closing or not _VARIABLE.fullmatch(name):
            report(place, "a ${ must be followed by a name and }; write $${ for the two characters themselves")
        elif name not in env:
            report(place, f"the environment variable {name} is not set")
        return env.get(name, "")

    text = _REFERENCE.sub(substitute, value)
    return Expanded(text) if from_env else text


def _completed(config: Config, env: Mapping[str, str]) -> Config:
    """With the defaults that depend on other values or on the environment."""
    # systemd gives several directories, with colons between them, when a unit asks for several.
    state_dir = config.state_dir or env.get("STATE_DIRECTORY", "").split(":")[0] or "./.equipoise"
    pools = {name: _completed_pool(pool) for name, pool in config.pools.items()}
    return replace(config, state_dir=state_dir, pools=pools)


def _completed_pool(pool: PoolConfig) -> PoolConfig:
    return replace(pool, targets=tuple(completed_target(target) for target in pool.targets))


def completed_target(target: TargetConfig) -> TargetConfig:
    """With the name that follows from its URL, when it was given none."""
    if target.name or not target.url:
        return target
    return replace(target, name=str(parse_url(target.url).address))


def _problems(found: list[tuple[Place, str]], text: str) -> list[Problem]:
    """In the order of the file; those without a line come first."""
    lines = locate(text)
    problems = [Problem(dotted(place), message, _line(lines, place, message)) for place, message in found]
    return sorted(problems, key=lambda problem: problem.line or 0)


def _line(lines: Mapping[Place, int], place: Place, message: str) -> int | None:
    """A key that is missing has the line of the table that lacks it."""
    line = lines.get(place)
    if line is None and message.startswith("is missing"):
        line = lines.get(place[:-1])
    return line

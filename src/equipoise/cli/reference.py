"""What the commands and their options are, for people: `python -m equipoise.cli.reference` prints the page.

Owns: the page docs/reference/cli.md, and the list of commands and options that it is made from.
Refuses to know: any command by name; all is read from the functions that the command line registers.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, get_args, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from equipoise.cli.app import app

_PREFACE: Final = """\
<!-- Made by `python -m equipoise.cli.reference`; change the functions in src/equipoise/cli instead. -->

# The command line

`python -m equipoise` is the same as `equipoise`. Every command has `--help`. Exit codes and signals have
[a page of their own](signals-and-exit-codes.md).
"""
_WORDS: Final = {int: "whole number", float: "number", str: "text"}
_UNITS: Final = {
    "S": "seconds",
    "MS": "milliseconds",
    "FILE": "file",
    "NAME": "name",
    "URL": "URL",
    "TOKEN": "token",
    "TIME": "duration",
    "SIZE": "size",
    "LIST": "list",
    "MODE": "mode",
    "PATH": "path",
}


@dataclass(frozen=True)
class Option:
    """One option of a command, or one argument; `names` begins with the long one."""

    names: tuple[str, ...]
    takes: str
    default: str
    says: str


# typer makes these two itself.
_COMPLETION: Final = (
    Option(("--install-completion",), "", "", "Install completion for the current shell."),
    Option(("--show-completion",), "", "", "Print what --install-completion would install."),
)


@dataclass(frozen=True)
class Command:
    """One command, by all its words; the one without a name stands for `equipoise` itself."""

    name: str
    says: str
    options: tuple[Option, ...]


def commands() -> Iterator[Command]:
    """All of them, in the order of the help."""
    if app.registered_callback is not None and app.registered_callback.callback is not None:
        root = _command("", app.registered_callback.callback)
        yield Command(root.name, root.says, root.options + _COMPLETION)
    yield from _commands(app, "")
    for group in app.registered_groups:
        assert group.typer_instance is not None
        info = group.typer_instance.info
        yield Command(info.name or "", info.help or "", ())
        yield from _commands(group.typer_instance, f"{info.name} ")


def page() -> str:
    """The reference page, Markdown."""
    return _PREFACE + "".join(_section(command) for command in commands())


def _commands(group: typer.Typer, before: str) -> Iterator[Command]:
    for info in group.registered_commands:
        assert info.callback is not None
        yield _command(before + (info.name or info.callback.__name__), info.callback)


def _command(name: str, function: Callable[..., Any]) -> Command:
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return Command(
        name,
        inspect.cleandoc(function.__doc__ or ""),
        tuple(_option(parameter, *get_args(hints[parameter.name])) for parameter in parameters),
    )


def _option(parameter: inspect.Parameter, kind: Any, info: OptionInfo | ArgumentInfo) -> Option:
    if isinstance(info, ArgumentInfo):
        names = (info.metavar or parameter.name.upper(),)
        return Option(names, _takes(kind, info), _default(parameter.default, info), info.help or "")
    # In an annotation, what typer calls the default is the first name. It makes one of its own when none is given.
    given = [info.default] if isinstance(info.default, str) else ["--" + parameter.name.replace("_", "-")]
    return Option(
        (*given, *(info.param_decls or ())), _takes(kind, info), _default(parameter.default, info), info.help or ""
    )


def _takes(kind: Any, info: OptionInfo | ArgumentInfo) -> str:
    """What stands behind the option."""
    (plain,) = [each for each in get_args(kind) or (kind,) if each is not type(None)]
    if plain is bool:
        return ""
    if issubclass(plain, Enum):
        return ", ".join(f"`{member.value}`" for member in plain)
    words = _UNITS.get(info.metavar or "") or _WORDS.get(plain, "path")
    if info.min is not None:
        words += f" from {info.min:g}"
    if info.max is not None:
        words += f" to {info.max:g}"
    return words


def _default(value: object, info: OptionInfo | ArgumentInfo) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    if isinstance(info.show_default, str):
        shown = info.show_default
    elif value is None or isinstance(value, bool):
        shown = ""
    elif isinstance(value, float):
        shown = f"`{value:g}`"
    else:
        shown = f"`{value.value if isinstance(value, Enum) else value}`" if value != "" else ""
    return f"`${info.envvar}`, then {shown}" if info.envvar else shown


def _section(command: Command) -> str:
    lines = [f"\n## `{f'equipoise {command.name}'.strip()}`\n", command.says, ""]
    if command.options:
        lines += ["| option | takes | default | meaning |", "|---|---|---|---|"]
    for option in command.options:
        names = ", ".join(f"`{name}`" for name in option.names)
        lines.append(f"| {names} | {option.takes} | {option.default} | {option.says} |")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    typer.echo(page(), nl=False, file=sys.stdout)

"""What is wrong with a configuration.

Owns: one problem as a value, all of them as an error, and how a place in the file is written.
Refuses to know: how problems are found.
"""

import json
import re
from collections.abc import Sequence
from typing import Final

import msgspec

Place = tuple[str | int, ...]
"""Keys and indexes from the top of the file."""

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong; `path` is empty when the file as a whole is meant, `line` None when it is not known."""

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        """`path (line N): message`, with what is known."""
        where = f"{self.path or 'file'} (line {self.line})" if self.line is not None else self.path
        return f"{where}: {self.message}" if where else self.message


class ConfigError(Exception):
    """A configuration that cannot be used; carries every problem that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = list(problems)


def dotted(place: Place) -> str:
    """`pools.default.targets[1].url`; keys that TOML would quote are quoted."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        key = part if _BARE_KEY.fullmatch(part) else json.dumps(part)
        text += f".{key}" if text else key
    return text

"""On which line of a TOML text a key stands.

Owns: the walk over a text that a TOML parser has accepted already, noting where keys and list entries begin.
Refuses to know: what the values are.

A place that is not found has no line: no line is better than a wrong one.
"""

import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from equipoise.config.problems import Place

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY: Final = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')[ \t]*""")
# A multi-line string may end in up to five quotes: two of its own and the three that close it.
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")'
    r"|'''.*?'{3,5}(?!')"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE: Final = re.compile(r"[^,\]}#\n]+")


def locate(text: str) -> Mapping[Place, int]:
    """The line, counted from 1, of every table, key and list entry of a valid TOML text."""
    walk = _Walk(text.replace("\r\n", "\n"))
    with suppress(_LostError, RecursionError):  # what was found before stays right
        walk.document()
    return walk.lines


class _LostError(Exception):
    """The text goes on in a way that this walk does not know."""


class _Walk:
    def __init__(self, text: str) -> None:
        self.lines: dict[Place, int] = {}
        self._text = text
        self._at = 0
        self._line = 1
        self._counts: dict[Place, int] = {}  # entries so far of each list of tables

    def document(self) -> None:
        """All tables and keys of the text."""
        table: Place = ()
        while self._skip_blank():
            if self._next("[["):
                table = self._list_entry(self._header_keys("]]"))
            elif self._next("["):
                table = self._latest(self._header_keys("]"))
                self._note(table)
            else:
                self._pair(table)

    def _header_keys(self, closing: str) -> Place:
        keys = self._keys()
        if not self._next(closing):
            raise _LostError
        return keys

    def _list_entry(self, keys: Place) -> Place:
        place = (*self._latest(keys[:-1]), keys[-1])
        index = self._counts.get(place, 0)
        self._counts[place] = index + 1
        self._note(place)
        self._note((*place, index))
        return (*place, index)

    def _latest(self, keys: Place) -> Place:
        """A header's keys as a place: within a list of tables, its newest entry is meant."""
        place: Place = ()
        for key in keys:
            place = (*place, key)
            if place in self._counts:
                place = (*place, self._counts[place] - 1)
        return place

    def _pair(self, table: Place) -> None:
        place = table
        for key in self._keys():
            place = (*place, key)
            self._note(place)
        if not self._next("="):
            raise _LostError
        self._skip_spaces()
        self._value(place)

    def _value(self, place: Place) -> None:
        if self._next("["):
            self._array(place)
        elif self._next("{"):
            self._inline_table(place)
        elif self._text.startswith(('"', "'"), self._at):
            self._take(_STRING)
        else:
            self._take(_BARE)

    def _array(self, place: Place) -> None:
        index = 0
        while self._skip_blank() and not self._next("]"):
            self._note((*place, index))
            self._value((*place, index))
            index += 1
            self._skip_blank()
            self._next(",")

    def _inline_table(self, place: Place) -> None:
        while self._skip_blank() and not self._next("}"):
            self._pair(place)
            self._skip_blank()
            self._next(",")

    def _keys(self) -> Place:
        keys = []
        while True:
            key = self._take(_KEY).strip(" \t")
            keys.append(tomllib.loads(f"key = {key}")["key"] if key[0] in "\"'" else key)
            if not self._next("."):
                return tuple(keys)

    def _note(self, place: Place) -> None:
        self.lines.setdefault(place, self._line)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise _LostError
        self._at = match.end()
        self._line += match[0].count("\n")
        return match[0]

    def _next(self, mark: str) -> bool:
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def _skip_blank(self) -> bool:
        """Over blanks, line ends and comments; whether anything is left."""
        self._take(_BLANK)
        return self._at < len(self._text)

    def _skip_spaces(self) -> None:
        while self._text.startswith((" ", "\t"), self._at):
            self._at += 1

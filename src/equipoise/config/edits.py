"""What a call of the admin API asks for, as values.

Owns: the shapes of the edits, and one line of English for each.
Refuses to know: who asks, whether the edit is valid and what it leads to (`overlay`).
"""

import json
from typing import Any

import msgspec

from equipoise.config.schema import TargetConfig


class AddTarget(msgspec.Struct, frozen=True, tag=True):
    """A pool gets a target; its name is `host:port` when it is empty."""

    pool: str
    target: TargetConfig


class ChangeTarget(msgspec.Struct, frozen=True, tag=True):
    """Some settings of a target get other values; None leaves one as it is.

    Values are as the file has them. They are checked when the edit is made, so any type may stand here until then.
    """

    pool: str
    target: str
    weight: int | None = None
    max_in_flight: int | None = None
    state: str | None = None

    def values(self) -> dict[str, Any]:
        """The settings that get another value."""
        settings = {"weight": self.weight, "max_in_flight": self.max_in_flight, "state": self.state}
        return {key: value for key, value in settings.items() if value is not None}


class RemoveTarget(msgspec.Struct, frozen=True, tag=True):
    """A pool loses a target."""

    pool: str
    target: str


class SetAlgorithm(msgspec.Struct, frozen=True, tag=True):
    """A pool's targets are chosen in another way from now on."""

    pool: str
    algorithm: str


class SetCache(msgspec.Struct, frozen=True, tag=True):
    """Some settings of a pool's cache get other values; those that are not named stay.

    Keys and values are as the file has them in `[pools.NAME.cache]`. They are checked when the edit is made.
    """

    pool: str
    changes: dict[str, Any]


Edit = AddTarget | ChangeTarget | RemoveTarget | SetAlgorithm | SetCache


def in_words(edit: Edit) -> str:
    """The edit as one line, for logs and events."""
    match edit:
        case AddTarget(pool=pool, target=target):
            return f"target {target.name or target.url} added to pool {pool}"
        case ChangeTarget(pool=pool, target=name):
            values = ", ".join(f"{key} = {value}" for key, value in edit.values().items())
            return f"target {name} of pool {pool} changed: {values or 'nothing'}"
        case RemoveTarget(pool=pool, target=name):
            return f"target {name} removed from pool {pool}"
        case SetAlgorithm(pool=pool, algorithm=algorithm):
            return f"algorithm of pool {pool} is {algorithm}"
        case SetCache(pool=pool, changes=changes):
            return f"cache of pool {pool} changed: {', '.join(_settings(changes)) or 'nothing'}"


def _settings(changes: dict[str, Any]) -> list[str]:
    """Each as a file would have it, in the order in which they were given."""
    return [f"{key} = {json.dumps(value)}" for key, value in changes.items()]

"""Durations and sizes as people write them.

Owns: `"250ms"`, `"5m"`, `"64KiB"`, and the way back.
Refuses to know: which setting is read, and which range it allows.

Reading is strict: ASCII digits and one known unit. What Python's `int()` would let pass (`1_0`, `+5`, digits of other
scripts, blanks) is refused.
"""

import re
from collections.abc import Mapping
from typing import Final

KB: Final = 1000
MB: Final = 1000 * KB
GB: Final = 1000 * MB
KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

MILLISECONDS: Final = 0.001
SECONDS: Final = 1.0
MINUTES: Final = 60.0
HOURS: Final = 3600.0

_MICROSECONDS_IN: Final[Mapping[str, int]] = {"ms": 1000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_BYTES_IN: Final[Mapping[str, int]] = {
    "": 1, "B": 1, "kB": KB, "KB": KB, "MB": MB, "GB": GB, "KiB": KIB, "MiB": MIB, "GiB": GIB,
}  # fmt: skip

# Twelve digits keep every result exact in a float and far above any sensible setting.
DURATION_PATTERN: Final = r"^[0-9]{1,12}(\.[0-9]{1,3})?(ms|s|m|h)$"
SIZE_PATTERN: Final = r"^[0-9]{1,12}(B|kB|KB|MB|GB|KiB|MiB|GiB)?$"
_DURATION: Final = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,3}))?(ms|s|m|h)")
_SIZE: Final = re.compile(r"([0-9]{1,12})(|B|kB|KB|MB|GB|KiB|MiB|GiB)")


def parse_duration(text: str) -> float:
    """Seconds. Raises ValueError for anything but a number and a unit."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError('must be a duration with a unit, such as "250ms", "5s", "5m" or "1h"')
    whole, fraction, unit = match.groups()
    thousandths = int(whole) * 1000 + int((fraction or "").ljust(3, "0"))
    return thousandths * _MICROSECONDS_IN[unit] / 1_000_000_000


def parse_size(text: str) -> int:
    """Bytes. Raises ValueError for anything but a whole number and, if given, a unit."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError('must be a size such as "64KiB" or "10MB", or a whole number of bytes')
    digits, unit = match.groups()
    return int(digits) * _BYTES_IN[unit]


def format_duration(seconds: float) -> str:
    """The shortest spelling that `parse_duration` reads back to the same value (to the microsecond)."""
    microseconds = round(seconds * 1_000_000)
    if microseconds == 0:
        return "0s"
    for unit in ("h", "m", "s", "ms"):
        count, rest = divmod(microseconds, _MICROSECONDS_IN[unit])
        if rest == 0:
            return f"{count}{unit}"
    return f"{microseconds // 1000}.{microseconds % 1000:03}".rstrip("0") + "ms"


def format_size(size: int) -> str | int:
    """The shortest spelling that `parse_size` reads back; a plain number when no unit divides it."""
    for unit in ("GiB", "MiB", "KiB", "GB", "MB", "KB"):
        if size and size % _BYTES_IN[unit] == 0:
            return f"{size // _BYTES_IN[unit]}{unit}"
    return size

"""Entity tags and what is compared with them (RFC 9110 8.8.3, 13.1).

Owns: their grammar, and the two ways of comparing.
Refuses to know: which answer follows from a comparison.
"""

from mypy_extensions import i64

from equipoise.wire.headers import BLANKS


def is_entity_tag(value: bytes) -> bool:
    """Whether a value is one entity tag and nothing else."""
    return _skip_tag(value, 0) == len(value)


def is_strong(tag: bytes) -> bool:
    """Whether a valid entity tag promises equality byte by byte (8.8.1)."""
    return tag[:1] == b'"'


def same_strongly(one: bytes, other: bytes) -> bool:
    """The strong comparison (8.8.3.2) of two valid entity tags."""
    return one == other and is_strong(one)


def same_weakly(one: bytes, other: bytes) -> bool:
    """The weak comparison (8.8.3.2) of two valid entity tags."""
    return one.removeprefix(b"W/") == other.removeprefix(b"W/")


def lists_tag(value: bytes, tag: bytes) -> bool:
    """Whether If-None-Match names a representation (13.1.2), compared weakly.

    Args:
        value: of the field, several lines joined by a comma; one that is not valid names nothing.
        tag: entity tag of the representation; empty when it has none, which only `*` matches.
    """
    if value.strip(BLANKS) == b"*":
        return True
    size: i64 = len(value)
    at: i64 = 0
    found = False
    while at < size:
        octet = value[at]
        if octet == 0x2C or octet == 0x20 or octet == 0x09:
            at += 1
            continue
        end = _skip_tag(value, at)
        if end < 0:
            return False
        if tag and same_weakly(value[at:end], tag):
            found = True
        rest = value[end:].lstrip(BLANKS)
        if rest and rest[0] != 0x2C:
            return False
        at = end
    return found


def _skip_tag(value: bytes, at: i64) -> i64:
    """Behind the entity tag that begins there; -1 when none does."""
    size: i64 = len(value)
    if at + 1 < size and value[at] == 0x57 and value[at + 1] == 0x2F:
        at += 2
    if at >= size or value[at] != 0x22:
        return -1
    at += 1
    while at < size:
        octet = value[at]
        if octet == 0x22:
            return at + 1
        # etagc: visible ASCII but the quote, and obs-text.
        if octet <= 0x20 or octet == 0x7F:
            return -1
        at += 1
    return -1

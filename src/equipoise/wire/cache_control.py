"""Cache directives (RFC 9111 5.2, RFC 5861, RFC 9213).

Owns: the grammar of Cache-Control and of the fields that are targeted at a class of caches, and their numbers.
Refuses to know: what follows from a directive.

What cannot be understood is never read to the advantage of the cache: a number that is none counts as 0, and a list
that breaks the grammar is marked `malformed`, which its reader takes for a prohibition.
"""

from typing import Final

from mypy_extensions import i64

from equipoise.wire.headers import BLANKS, TOKEN
from equipoise.wire.structured import BOOLEAN, INTEGER, parse_dictionary

NO_STORE: Final = 1
NO_CACHE: Final = 2
PRIVATE: Final = 4
PUBLIC: Final = 8
MUST_REVALIDATE: Final = 16
PROXY_REVALIDATE: Final = 32
MUST_UNDERSTAND: Final = 64
ONLY_IF_CACHED: Final = 128

# Directives without a number. With field names as their argument, `private` and `no-cache` mean only these fields; we
# take them as without, which is stricter, and which RFC 9111 5.2.2.4 and 5.2.2.7 say that many caches do.
FLAGS: Final[dict[bytes, int]] = {
    b"no-store": NO_STORE,
    b"no-cache": NO_CACHE,
    b"private": PRIVATE,
    b"public": PUBLIC,
    b"must-revalidate": MUST_REVALIDATE,
    b"proxy-revalidate": PROXY_REVALIDATE,
    b"must-understand": MUST_UNDERSTAND,
    b"only-if-cached": ONLY_IF_CACHED,
}
ABSENT: Final = -1
# RFC 9111 1.2.2: what is larger, or too large to be held, is this number of seconds, or any greater one we can show.
MAX_SECONDS: Final = 2_147_483_648


class Directives:
    """What Cache-Control says, of a request or of a response.

    Attributes:
        flags: `NO_STORE` and the like, added together.
        max_age, s_maxage, min_fresh, max_stale, stale_while_revalidate, stale_if_error: seconds, or `ABSENT`;
            max-stale without a number is `MAX_SECONDS`.
        malformed: whether something in it could not be read.
    """

    def __init__(self) -> None:
        self.flags: i64 = 0
        self.max_age: i64 = ABSENT
        self.s_maxage: i64 = ABSENT
        self.min_fresh: i64 = ABSENT
        self.max_stale: i64 = ABSENT
        self.stale_while_revalidate: i64 = ABSENT
        self.stale_if_error: i64 = ABSENT
        self.malformed = False

    def take(self, name: bytes, seconds: i64, bare: bool) -> None:
        """One directive.

        A number that comes twice with two values counts as 0: RFC 9111 4.2.1 would have the response be stale.

        Args:
            name: in lower case; an unknown one is passed over (5.2.3).
            seconds: its number; `ABSENT` when there is none, or when it is none.
            bare: whether it has no argument.
        """
        flag = FLAGS.get(name)
        if flag is not None:
            self.flags |= flag
            return
        number: i64 = 0 if seconds == ABSENT else seconds
        if name == b"max-age":
            self.max_age = number if self.max_age == ABSENT or self.max_age == number else 0
        elif name == b"s-maxage":
            self.s_maxage = number if self.s_maxage == ABSENT or self.s_maxage == number else 0
        elif name == b"max-stale":
            allowed: i64 = MAX_SECONDS if bare else number
            self.max_stale = allowed if self.max_stale == ABSENT or self.max_stale == allowed else 0
        elif name == b"min-fresh":
            # Here a larger number asks for more.
            self.min_fresh = max(self.min_fresh, MAX_SECONDS if seconds == ABSENT else seconds)
        elif name == b"stale-while-revalidate":
            known = self.stale_while_revalidate
            self.stale_while_revalidate = number if known == ABSENT or known == number else 0
        elif name == b"stale-if-error":
            known = self.stale_if_error
            self.stale_if_error = number if known == ABSENT or known == number else 0


def parse_cache_control(values: list[bytes]) -> Directives:
    """Reads Cache-Control.

    Args:
        values: of all its lines, in order.
    """
    found = Directives()
    for value in values:
        if not _read_list(value, found):
            found.malformed = True
    return found


def parse_targeted(values: list[bytes]) -> Directives | None:
    """Reads a targeted field such as CDN-Cache-Control (RFC 9213 2.1), which is a structured field.

    Args:
        values: of all its lines, in order.

    Returns:
        The directives; none when the field is empty or not valid, and must be treated as it were not there.
    """
    members = parse_dictionary(b", ".join(values))
    if not members:
        return None
    found = Directives()
    for member in members:
        if member.kind == BOOLEAN and member.number == 0 and member.key in FLAGS:
            # `no-store=?0` says that it does not apply.
            continue
        whole = member.kind == INTEGER and member.number >= 0
        seconds: i64 = min(member.number, MAX_SECONDS) if whole else ABSENT
        found.take(member.key, seconds, member.kind == BOOLEAN)
    return found


def parse_seconds(value: bytes) -> i64:
    """A number of seconds (RFC 9111 1.2.2): digits and nothing else; `ABSENT` when it is anything else."""
    size: i64 = len(value)
    if size == 0:
        return ABSENT
    seconds: i64 = 0
    i: i64 = 0
    while i < size:
        digit: i64 = value[i] - 0x30
        if digit < 0 or digit > 9:
            return ABSENT
        if seconds <= MAX_SECONDS:
            seconds = seconds * 10 + digit
        i += 1
    return min(seconds, MAX_SECONDS)


def _read_list(value: bytes, found: Directives) -> bool:
    """`#( token [ "=" ( token / quoted-string ) ] )`; empty elements are allowed (RFC 9110 5.6.1)."""
    size: i64 = len(value)
    at: i64 = 0
    while at < size:
        octet = value[at]
        if octet == 0x2C or octet == 0x20 or octet == 0x09:
            at += 1
            continue
        start = at
        at = _skip_token(value, at)
        if at == start:
            return False
        name = value[start:at].lower()
        seconds: i64 = ABSENT
        bare = True
        if at < size and value[at] == 0x3D:
            at += 1
            bare = False
            start = at
            if at < size and value[at] == 0x22:
                at = _skip_quoted(value, at)
                if at < 0:
                    return False
                seconds = parse_seconds(value[start + 1 : at - 1])
            else:
                at = _skip_token(value, at)
                seconds = parse_seconds(value[start:at])
                if at == start:
                    return False
        found.take(name, seconds, bare)
        rest = value[at:].lstrip(BLANKS)
        if rest and rest[0] != 0x2C:
            return False
    return True


def _skip_token(value: bytes, at: i64) -> i64:
    size: i64 = len(value)
    while at < size and TOKEN[value[at]]:
        at += 1
    return at


def _skip_quoted(value: bytes, at: i64) -> i64:
    """Behind the closing quote (RFC 9110 5.6.4); -1 when there is none."""
    size: i64 = len(value)
    at += 1
    while at < size:
        if value[at] == 0x22:
            return at + 1
        at += 2 if value[at] == 0x5C else 1
    return -1

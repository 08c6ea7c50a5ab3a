"""Header lists on their way from HTTP/2 to somewhere else.

Owns: what has to change in a list that the rules have passed, before it goes on.
Refuses to know: what is valid (`http2_rules`), and what the balancer adds or takes out for reasons of its own.
"""

from typing import Final

from equipoise.wire.hpack_header import COOKIE, Header, header
from equipoise.wire.http1 import OURS


def spellings(name: bytes) -> list[bytes]:
    """The other names that a target which follows CGI reads as this one: `content_length` for `content-length`."""
    words = name.split(b"-")
    texts = [words[0]]
    for word in words[1:]:
        texts = [text + sign + word for text in texts for sign in (b"-", b"_")]
    return [text for text in texts if text != name]


# As in `http1`: fields whose meaning is ours to give, under a name that is not quite theirs.
LOOKALIKES: Final = frozenset(text for name in OURS for text in spellings(name))


def without_lookalikes(fields: list[Header]) -> list[Header]:
    """Leaves out the fields that a target could take for those that frame and describe the message."""
    return [field for field in fields if field.name not in LOOKALIKES]


def join_cookies(fields: list[Header]) -> list[Header]:
    """Makes one Cookie field of several (RFC 9113 8.2.3), at the place of the first; HTTP/1 allows no more than one.

    Args:
        fields: a header list with `Message.cookies` above 1.
    """
    # An empty crumb would leave a blank at an end, which no value may have (8.2.1).
    crumbs = b"; ".join([field.value for field in fields if field.kind == COOKIE and field.value])
    joined: list[Header] = []
    whole = True
    for field in fields:
        if field.kind != COOKIE:
            joined.append(field)
        elif whole:
            joined.append(header(b"cookie", crumbs))
            whole = False
    return joined

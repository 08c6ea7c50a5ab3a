"""A header field of HTTP/2, looked at once: when its literal arrives, and never again while it repeats.

Owns: what follows from a field's name and value alone: its size, whether RFC 9113 8.2 allows it, whether it may be put
in a table that requests share.
Refuses to know: header blocks, which fields belong into a request or a response and in which order.
"""

from typing import Final

from mypy_extensions import i64

from equipoise.wire.headers import TOKEN, skip_value
from equipoise.wire.hpack_tables import STATIC_FIELDS

# Flags of a field. `flags & (PSEUDO | MALFORMED) == 0`: a valid field that is no pseudo-header field.
PSEUDO: Final = 1  # the name begins with a colon
BAD_NAME: Final = 2  # the name is not in lower case, no token, or a pseudo-header field that nobody defined
BAD_VALUE: Final = 4  # an octet that may not stand in a value, or not in that of this field; blanks around it
ONE_CONNECTION: Final = 8  # speaks of the connection (RFC 9113 8.2.2), and so does a TE other than "trailers"
NEVER_INDEXED: Final = 16  # must be sent as a never-indexed literal (RFC 7541 6.2.3)
NOT_INDEXED: Final = 32  # no use in a table: its value differs each time
MALFORMED: Final = BAD_NAME | BAD_VALUE | ONE_CONNECTION

# Kinds: which of the fields that somebody asks for by name this one is. Of all others the kind is OTHER.
OTHER: Final = 0
METHOD: Final = 1
SCHEME: Final = 2
AUTHORITY: Final = 3
PATH: Final = 4
STATUS: Final = 5
PROTOCOL: Final = 6
HOST: Final = 7
CONTENT_LENGTH: Final = 8
TE: Final = 9
COOKIE: Final = 10
EXPECT: Final = 11
TRAILER: Final = 12
VIA: Final = 13
X_FORWARDED_FOR: Final = 14
X_FORWARDED_HOST: Final = 15
X_FORWARDED_PROTO: Final = 16
X_REQUEST_ID: Final = 17
PROXY_AUTHENTICATE: Final = 18
PROXY_AUTHORIZATION: Final = 19
GRPC_STATUS: Final = 20
GRPC_TIMEOUT: Final = 21
CONTENT_TYPE: Final = 22
KINDS: Final[dict[bytes, int]] = {
    b":method": METHOD,
    b":scheme": SCHEME,
    b":authority": AUTHORITY,
    b":path": PATH,
    b":status": STATUS,
    b":protocol": PROTOCOL,
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"te": TE,
    b"cookie": COOKIE,
    b"expect": EXPECT,
    b"trailer": TRAILER,
    b"via": VIA,
    b"x-forwarded-for": X_FORWARDED_FOR,
    b"x-forwarded-host": X_FORWARDED_HOST,
    b"x-forwarded-proto": X_FORWARDED_PROTO,
    b"x-request-id": X_REQUEST_ID,
    b"proxy-authenticate": PROXY_AUTHENTICATE,
    b"proxy-authorization": PROXY_AUTHORIZATION,
    b"grpc-status": GRPC_STATUS,
    b"grpc-timeout": GRPC_TIMEOUT,
    b"content-type": CONTENT_TYPE,
}

CONNECTION_NAMES: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
# Secrets: who can add fields to the same table could otherwise guess them, octet for octet (RFC 7541 7.1). A short
# cookie can be guessed too; as in nghttp2, one of 20 octets cannot.
SECRET_NAMES: Final = frozenset((b"authorization", b"proxy-authorization"))
GUESSABLE_COOKIE: Final = 20
# The fields that nghttp2 (and with it Envoy) leaves out of the table, and those with a new value for each request: they
# would only drive out what repeats.
CHANGING_NAMES: Final = frozenset(
    (
        *(b":path", b"age", b"content-length", b"etag", b"if-modified-since", b"if-none-match", b"location"),
        *(b"set-cookie", b"content-range", b"range", b"grpc-message", b"grpc-timeout", b"traceparent"),
        *(b"x-b3-spanid", b"x-b3-traceid", b"x-correlation-id", b"x-envoy-expected-rq-timeout-ms", b"x-request-id"),
        b"x-request-start",
    )
)

# Tables as in `headers`, indexed by the octet. The colon of a pseudo-header field is looked at apart.
NAME_OCTETS: Final = bytes(1 if TOKEN[c] and not 0x41 <= c <= 0x5A else 0 for c in range(256))
# Of fields whose value is more than text, the octets that may stand in it, which must be at least one: a blank in a
# path or a method would end it on an HTTP/1 connection. The same as `http1` accepts there.
DIGITS: Final = bytes(1 if 0x30 <= c <= 0x39 else 0 for c in range(256))
SCHEME_OCTETS: Final = bytes(1 if chr(c) in "+-." or (chr(c).isalnum() and c < 0x80) else 0 for c in range(256))
VISIBLE: Final = bytes(1 if 0x21 <= c <= 0x7E else 0 for c in range(256))
PATH_OCTETS: Final = bytes(1 if 0x21 <= c <= 0x7E and c != 0x23 else 0 for c in range(256))
VALUE_OCTETS: Final[dict[bytes, bytes]] = {
    b":method": TOKEN,
    b":scheme": SCHEME_OCTETS,
    b":authority": VISIBLE,
    b":path": PATH_OCTETS,
    b":status": DIGITS,
    b":protocol": TOKEN,
    b"content-length": DIGITS,
}
NO_ENTRIES: Final[dict[bytes, int]] = {}


class Name:
    """A field name, and what follows from it alone. Fields with the same name share it where that costs nothing.

    Attributes:
        text: as it came.
        kind: one of `KINDS`, or `OTHER`.
        flags: those that need no value.
        index: the first entry of the static table with this name; 0 when there is none.
        octets: a table of what its value may consist of; empty when it is any text.
        entries: value -> entry of the static table with this name.
    """

    def __init__(self, text: bytes) -> None:
        """Looks at a name that nobody knows; `_known_names` sets what differs for the others.

        Args:
            text: any octets.
        """
        self.text = text
        self.kind: i64 = OTHER
        self.octets: bytes = b""
        self.entries: dict[bytes, int] = NO_ENTRIES
        self.index: i64 = 0
        self.flags: i64 = 0
        if not consists_of(text, NAME_OCTETS):
            self.flags = BAD_NAME | NOT_INDEXED
            if text.startswith(b":"):
                self.flags |= PSEUDO


class Header:
    """A header field. Tables, lists and connections share it by reference; nobody changes it.

    Attributes:
        name: as it came.
        value: as it came.
        size: octets that it counts for in a table and in a list (RFC 7541 4.1).
        flags: see `PSEUDO` and the following.
        kind: see `KINDS`.
        index: the entry of the static table that is this field; 0 when there is none, or when it must not be used.
        about: the name.
        key: of an encoder; empty until one needs it.
    """

    def __init__(self, about: Name, value: bytes, never: bool) -> None:
        """Looks at a field.

        Args:
            about: its name.
            value: any octets.
            never: it came as a never-indexed literal, and has to go on so.
        """
        self.about = about
        self.name: bytes = about.text
        self.value = value
        self.size: i64 = len(about.text) + len(value) + 32
        self.kind: i64 = about.kind
        self.key: bytes = b""
        self.index: i64 = 0
        flags = about.flags
        if not _is_valid(about, value):
            flags |= BAD_VALUE | NOT_INDEXED
        if about.kind == TE and value.lower() != b"trailers":
            flags |= ONE_CONNECTION
        if never or (about.kind == COOKIE and len(value) < GUESSABLE_COOKIE):
            flags |= NEVER_INDEXED
        if flags & NEVER_INDEXED == 0 and about.index:
            self.index = about.entries.get(value, 0)
        self.flags: i64 = flags

    def __repr__(self) -> str:
        """Name and value; of a secret, the name alone."""
        return f"Header({self.name!r}, {b'...' if self.flags & NEVER_INDEXED else self.value!r})"


def consists_of(octets: bytes, allowed: bytes) -> bool:
    """Whether there are octets, and all of them stand in a table of those that are allowed."""
    size: i64 = len(octets)
    at: i64 = 0
    while at < size and allowed[octets[at]]:
        at += 1
    return at == size and size > 0


def _is_valid(about: Name, value: bytes) -> bool:
    """RFC 9113 8.2.1, with the rest of RFC 9110 5.5, since the value may go on to an HTTP/1 connection."""
    if about.octets:
        return consists_of(value, about.octets)
    size: i64 = len(value)
    if size == 0:
        return True
    return (
        skip_value(value, 0) == size
        and value[0] != 0x20
        and value[0] != 0x09
        and value[size - 1] != 0x20
        and value[size - 1] != 0x09
    )


def _known_names() -> dict[bytes, Name]:
    """The names that this module or the static table mentions."""
    texts = [name for name, _ in STATIC_FIELDS]
    for more in (KINDS, CONNECTION_NAMES, SECRET_NAMES, CHANGING_NAMES):
        texts.extend(more)
    names = {text: _known_name(text) for text in texts}
    for place, (text, value) in enumerate(STATIC_FIELDS):
        name = names[text]
        if name.index == 0:
            name.index = place + 1
            name.entries = {}
        name.entries[value] = place + 1
    return names


def _known_name(text: bytes) -> Name:
    name = Name(text)
    name.kind = KINDS.get(text, OTHER)
    name.octets = VALUE_OCTETS.get(text, b"")
    if text.startswith(b":"):
        name.flags = PSEUDO
    elif text in CONNECTION_NAMES:
        name.flags = ONE_CONNECTION
    if text in SECRET_NAMES:
        name.flags |= NEVER_INDEXED
    elif text in CHANGING_NAMES:
        name.flags |= NOT_INDEXED
    return name


NAMES: Final[dict[bytes, Name]] = _known_names()
# By index; the first one stands for nothing.
STATIC: Final[list[Header]] = [
    Header(NAMES[name], value, False) for name, value in ((b":authority", b""), *STATIC_FIELDS)
]


def name_of(text: bytes) -> Name:
    """The name with this text, shared when it is a known one."""
    name = NAMES.get(text)
    return Name(text) if name is None else name


def header(name: bytes, value: bytes) -> Header:
    """A field of our own making."""
    return Header(name_of(name), value, False)

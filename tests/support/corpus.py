"""Messages for the property tests: valid ones, and what a smuggler makes of them.

Owns: the hypothesis strategies for bytes on the wire.
Refuses to know: which of them are valid.
"""

from hypothesis import strategies as st

# Fields that decide where a message ends and where it goes, each in the spellings that parsers have disagreed on.
FRAMING = (
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"Content-Length: 05",
    b"content-length:5 ",
    b"Content-Length: +5",
    b"Content-Length: 5_0",
    b"Content-Length: -1",
    b"Content-Length: 0x5",
    b"Content-Length: 5, 5",
    b"Content-Length: \x0b5",
    b"Content-Length:",
    b"Content-Length : 5",
    b"Content-Length: 00000000000000000005",
    b"Content-Length: 18446744073709551621",
    b"Content_Length: 5",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding:\tCHUNKED ",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding:",
    b"Transfer-Encoding:\r\n chunked",
)
ROUTING = (
    b"Host: a",
    b"Host: b",
    b"host:a:80",
    b"Host:",
    b"Host: a b",
    b"Host: u@a",
    b"Host: a/b",
    b"Host: a:80:90",
    b"Host : a",
)
OTHER = (
    b"X: y",
    b"X:",
    b"X-Obs: \xff\x80",
    b"X: a\x00b",
    b"X: a\x7fb",
    b"X: a\rb",
    b"X: a\nY: b",
    b"X: a\r\n folded",
    b" X: y",
    b"X y: z",
    b": y",
    b"X",
    b"X\xe9: y",
    b"Connection: close",
    b"Connection: keep-alive, X",
    b"Connection: Content-Length, Host",
    b"Connection: GET / HTTP/1.",
    b"Connection: upgrade",
    b"Upgrade: websocket",
    b"Expect: 100-continue",
    b"Trailer: X",
    b"TE: trailers",
    b"X-Forwarded-For: 1.2.3.4",
)
METHODS = (b"GET", b"GET", b"POST", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"CONNECT", b"FOO", b"get", b"G\x00T", b"")
TARGETS = (
    b"/",
    b"/",
    b"/a?b=c",
    b"/a#b",
    b"//a/",
    b"*",
    b"http://a/b",
    b"http://a",
    b"http://b/",
    b"http://u@a/",
    b"https://a?x",
    b"a:443",
    b"x",
    b"/\xc3\xa9",
    b'/"<>\\^`{|}',
    b"/a b",
    b"",
)
VERSIONS = (
    b"HTTP/1.1",
    b"HTTP/1.1",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/1.2",
    b"HTTP/2.0",
    b"HTTP/1.01",
    b"http/1.1",
    b"",
)
SIZES = (
    b"5",
    b"005",
    b"5;a=b",
    b'5;a="b"',
    b"5;a b",
    b"5 ",
    b" 5",
    b"0x5",
    b"+5",
    b"5_",
    b"",
    b"5\r",
    b"4",
    b"6",
    b"0",
)
STATUSES = (
    b"200 OK",
    b"404 Not Found",
    b"204 No Content",
    b"304 X",
    b"200",
    b"200 ",
    b"20 X",
    b"2000 X",
    b"-20 X",
    b"999 \xff",
)
# What mutation puts in.
POISON = (
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\x00",
    b"\x0b",
    b"\x85",
    b"\xa0",
    b":",
    b";",
    b",",
    b"_",
    b"+",
    b"0",
    b"#",
    b"Host: b\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"0\r\n\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
)


@st.composite
def fields(draw: st.DrawFn) -> bytes:
    """A few field lines and the empty one; mostly with a Host, mostly with at most one framing."""
    lines = [draw(st.sampled_from(ROUTING))] if draw(st.integers(0, 3)) == 0 else [b"Host: a"]
    lines += draw(st.lists(st.sampled_from(FRAMING), max_size=2))
    lines += draw(st.lists(st.sampled_from(OTHER), max_size=2))
    return b"".join(line + b"\r\n" for line in draw(st.permutations(lines))) + b"\r\n"


@st.composite
def plain_fields(draw: st.DrawFn) -> bytes:
    """Field lines in which nothing is wrong, unless they are two framings together."""
    lines = [
        b"Host: a",
        *draw(st.lists(st.sampled_from([b"X: y", b"x-obs:\t\xff ", b"X:", b"TE: trailers"]), max_size=2)),
    ]
    lines += draw(st.sampled_from([[], [b"Content-Length: 5"], [b"Transfer-Encoding: chunked"]]))
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n"


@st.composite
def chunked_bodies(draw: st.DrawFn) -> bytes:
    """Chunks, now and then with a size line that is none, and trailers."""
    out = b""
    for _ in range(draw(st.integers(0, 2))):
        size = draw(st.sampled_from(SIZES)) if draw(st.booleans()) else b"5"
        out += size + b"\r\n" + b"ab\r\n0" + draw(st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"", b"X\r\n"]))
    trailers = draw(st.sampled_from([b"", b"", b"T: u\r\n", b"T: u\r\n v\r\n", b"Content-Length: 5\r\n", b"T\n"]))
    return out + b"0\r\n" + trailers + b"\r\n"


def bodies() -> st.SearchStrategy[bytes]:
    return st.one_of(st.just(b""), st.just(b"12345"), chunked_bodies(), chunked_bodies())


@st.composite
def valid_chunked(draw: st.DrawFn) -> bytes:
    """A chunked body in which nothing is wrong."""
    out = b""
    for data in draw(st.lists(st.binary(min_size=1, max_size=40), max_size=4)):
        size = b"0" * draw(st.integers(0, 3)) + b"%x" % len(data)
        extension = draw(st.sampled_from([b"", b"", b";a", b";a=b;c", b';a="b;\\"c"']))
        out += size + extension + b"\r\n" + data + b"\r\n"
    trailers = draw(st.sampled_from([b"", b"T: u\r\n", b"T: u\r\nV:\r\n"]))
    return out + b"0\r\n" + trailers + b"\r\n"


@st.composite
def mutated(draw: st.DrawFn, source: st.SearchStrategy[bytes]) -> bytes:
    """`source` with a few bytes lost, repeated or put in; half of the time as it is."""
    data = draw(source)
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        a, b = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        poison = draw(st.sampled_from(POISON))
        data = draw(
            st.sampled_from(
                [
                    data[:a] + poison + data[a:],
                    data[:a] + poison + data[a + 1 :],
                    data[:a] + data[a + 1 :],
                    data[:a] + data[b:],
                    data[:b] + data[a:],
                ]
            )
        )
    return data


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request, valid or not."""
    line = [b"POST / HTTP/1.1"]
    if draw(st.booleans()):
        line = [draw(st.sampled_from(choice)) for choice in (METHODS, TARGETS, VERSIONS)]
    return b" ".join(line) + b"\r\n" + draw(st.one_of(fields(), plain_fields())) + draw(bodies())


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """One response, valid or not."""
    version = draw(st.sampled_from(VERSIONS)) if draw(st.booleans()) else b"HTTP/1.1"
    status = draw(st.sampled_from(STATUSES)) if draw(st.booleans()) else b"200 OK"
    return version + b" " + status + b"\r\n" + draw(st.one_of(fields(), plain_fields())) + draw(bodies())


def conversations(message: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """One to three messages one after the other, mutated as a whole."""
    return mutated(st.lists(message, min_size=1, max_size=3).map(b"".join))

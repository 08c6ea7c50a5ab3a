"""The kept inputs: a text file for each target, an input a line, written as Python writes bytes.

Owns: the format of the files, and the words that mutation puts in.
Refuses to know: what is checked.
"""

import ast
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "corpus"


def load(name: str) -> list[bytes]:
    """The inputs of a target, in their order.

    Raises:
        ValueError: a line is no literal of bytes; the text names the file and the line.
    """
    path = FOLDER / f"{name}.txt"
    inputs = []
    for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        try:
            value = ast.literal_eval(line)
        except (SyntaxError, ValueError):
            value = None
        if not isinstance(value, bytes):
            raise ValueError(f"{path}:{number}: no literal of bytes")  # noqa: TRY004  (the file is wrong, not a type)
        inputs.append(value)
    return inputs


def words(inputs: list[bytes]) -> list[bytes]:
    """What mutation puts in: the pieces that the inputs are made of, and what parsers stumble over."""
    found = dict.fromkeys(POISON)
    for data in inputs:
        for piece in data.replace(b"\r\n", b" ").replace(b"\xfe", b" ").replace(b"\xfd", b" ").split(b" "):
            if 1 < len(piece) <= 24:
                found.setdefault(piece)
    return list(found)


POISON: Final = (
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"\x00", b"\x0b", b"\x0c", b"\x85", b"\xa0", b"\x7f", b"\xff"),
    *(b":", b";", b",", b"_", b"+", b"-", b"0", b"0x", b"#", b'"', b"\\", b"=", b"*", b"%", b"%00", b"/../", b"\x80"),
    *(b"Host: b\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    *(b"18446744073709551616", b"4294967295", b"\xd9\xa5", b"\xef\xbc\x91"),
)

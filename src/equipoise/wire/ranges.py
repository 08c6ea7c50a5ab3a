"""Byte ranges (RFC 9110 14).

Owns: which part of a representation of known size a Range field asks for.
Refuses to know: whether the part may be given (If-Range, the method, the status).
"""

from typing import Final

from mypy_extensions import i64

from equipoise.wire.headers import BLANKS

WHOLE: Final = 0  # no range that is served: the answer is the whole representation (14.2)
PART: Final = 1
UNSATISFIABLE: Final = 2  # 416

# Behind the end of anything; a larger number counts as this one, so that none overflows (nginx CVE-2017-7529).
FAR: Final = 10**17


def parse_range(value: bytes, size: i64) -> tuple[i64, i64, i64]:
    """Reads a Range field.

    Several ranges are answered with the whole, as 14.2 allows: putting them together is what costs a server most, and
    what attackers ask for. A field that is not valid, or of another unit, is ignored, as 14.2 demands.

    Args:
        value: of the field.
        size: bytes of the representation.

    Returns:
        `WHOLE`, `PART` or `UNSATISFIABLE`; first byte of the part and the one behind its last, 0 and `size` for the
        whole.
    """
    unit, sign, rest = value.partition(b"=")
    given = rest.strip(BLANKS)
    first, dash, last = given.partition(b"-")
    if not sign or unit.lower() != b"bytes" or not dash or size == 0:
        return WHOLE, 0, size
    begin = _number(first)
    end = _number(last)
    if begin < -1 or end < -1 or (begin == -1 and end == -1):
        return WHOLE, 0, size
    if begin == -1:
        if end == 0:
            return UNSATISFIABLE, 0, size
        return PART, max(size - end, 0), size
    if end != -1 and end < begin:
        return WHOLE, 0, size
    if begin >= size:
        return UNSATISFIABLE, 0, size
    return PART, begin, size if end == -1 or end >= size else end + 1


def _number(digits: bytes) -> i64:
    """The number; -1 when there are no digits at all, -2 when there is anything else."""
    if not digits:
        return -1
    number: i64 = 0
    for octet in digits:
        if octet < 0x30 or octet > 0x39:
            return -2
        if number < FAR:
            number = number * 10 + octet - 0x30
    return min(number, FAR)

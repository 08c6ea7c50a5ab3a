"""The load of new connections: ab of the Apache server's tools, a full handshake of TLS for each request.

Owns: its options and the reading of what it prints.
Refuses to know: what is being loaded.

wrk takes up the session of the connection before (OpenSSL keeps it in the object that wrk uses again), so that most of
its handshakes are short ones. ab makes a new object for each connection.
"""

import re
from collections.abc import Sequence

from benchmarks.load import Load, LoadFailed, output_of
from benchmarks.model import REQUEST_HEADERS, Traffic

# It stops at the time or at this number, whichever comes first; without it the number is 50,000.
ENDLESS = 10_000_000
_COUNTS = {
    "done": r"Complete requests:\s+(\d+)",
    "failed": r"Failed requests:\s+(\d+)",
    "seconds": r"Time taken for tests:\s+([\d.]+) seconds",
    "bytes": r"HTML transferred:\s+(\d+) bytes",
}
_OTHER_STATUS = re.compile(r"Non-2xx responses:\s+(\d+)")


def arguments(traffic: Traffic) -> list[str]:
    """Its options, without how long and where."""
    argv = [word for name, value in REQUEST_HEADERS for word in ("-H", f"{name}: {value}")]
    # -r: a connection that fails is counted and does not end the run; -l: what lengths differ in is checked by `parse`.
    return [*argv, "-q", "-r", "-l", f"-c{traffic.connections}"]


def run(ab: str, url: str, options: Sequence[str], seconds: int) -> str:
    """Load `url` for so many seconds; returns what `parse` reads."""
    return output_of("ab", [ab, *options, f"-t{seconds}", f"-n{ENDLESS}", url], seconds)


def parse(output: str, size: int) -> Load:
    """Read what it printed; anything but complete answers of status 2xx is listed as an error."""
    found = {name: re.search(pattern, output) for name, pattern in _COUNTS.items()}
    values = {name: float(match[1]) for name, match in found.items() if match}
    if len(values) < len(_COUNTS):
        raise LoadFailed(f"no summary in what ab printed: {output[-500:]!r}")
    done, received = int(values["done"]), int(values["bytes"])
    errors = [f"{values['failed']:.0f} requests failed"] if values["failed"] else []
    if other := _OTHER_STATUS.search(output):
        errors.append(f"{other[1]} answers with a status outside of 2xx")
    if not done:
        errors.append("no request was answered")
    if received < done * size:
        errors.append(f"{received} bytes are too few for {done} bodies of {size}")
    return Load(
        requests=done,
        seconds=values["seconds"],
        received_bytes=received,
        p50_ms=_percentile(output, 50),
        p99_ms=_percentile(output, 99),
        errors=tuple(errors),
    )


def _percentile(output: str, percent: int) -> float:
    """Whole milliseconds are all that it prints."""
    found = re.search(rf"^\s+{percent}%\s+(\d+)", output, re.MULTILINE)
    return float(found[1]) if found else 0.0

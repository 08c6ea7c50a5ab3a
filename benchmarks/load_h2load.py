"""The load of HTTP/2: h2load of nghttp2.

Owns: its options, its log of requests, and the reading of what it prints.
Refuses to know: what is being loaded.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.load import Load, LoadFailed, output_of
from benchmarks.model import CALL, CALL_HEADERS, REQUEST_HEADERS, Traffic

_FINISHED = re.compile(r"^finished in ([\d.]+)(us|ms|s),", re.MULTILINE)
_REQUESTS = re.compile(
    r"^requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout",
    re.MULTILINE,
)
_DATA = re.compile(r"^traffic: .*\((\d+)\) data$", re.MULTILINE)
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def arguments(traffic: Traffic, body: str, message: Path, log: Path) -> list[str]:
    """Its options, without how long and where.

    Args:
        traffic: connections and streams.
        body: `CALL` sends `message` as gRPC does; anything else is a GET with the headers of a browser.
        message: file with the body of a call's request.
        log: file that h2load appends a line to for each request.
    """
    headers = CALL_HEADERS if body == CALL else REQUEST_HEADERS
    # It sends Host beside an :authority of its own, and strict peers refuse the two.
    names = [(":authority" if name == "Host" else name.lower(), value) for name, value in headers]
    argv = [word for name, value in names for word in ("-H", f"{name}: {value}")]
    argv += ["-t1", f"-c{traffic.connections}", f"-m{traffic.streams}", f"--log-file={log}"]
    return [*argv, f"--data={message}"] if body == CALL else argv


def run(h2load: str, url: str, options: Sequence[str], seconds: int) -> str:
    """Load `url` for so many seconds from one thread; returns what `parse` reads."""
    return output_of("h2load", [h2load, *options, f"--duration={seconds}", url], seconds)


def parse(output: str, log: str, size: int) -> Load:
    """Read what it printed and what it logged; anything but complete answers of status 2xx is listed as an error.

    Args:
        output: its standard output.
        log: its log: begin, status and microseconds of each request, divided by tabs.
        size: bytes of each answer's body.
    """
    finished, requests, data = (pattern.search(output) for pattern in (_FINISHED, _REQUESTS, _DATA))
    if finished is None or requests is None or data is None:
        raise LoadFailed(f"no summary in what h2load printed: {output[-500:]!r}")
    done, succeeded, failed, errored, timeout = (int(number) for number in requests.groups())
    received = int(data[1])
    kinds = {"failed": failed, "broken off": errored, "without an answer in time": timeout}
    errors = [f"{count} requests {kind}" for kind, count in kinds.items() if count]
    if done != succeeded:
        errors.append(f"{done - succeeded} answers that were no success")
    statuses, latencies = _logged(log)
    other = sum(1 for status in statuses if not 200 <= status < 300)
    if other:
        errors.append(f"{other} answers with a status outside of 2xx")
    if not done:
        errors.append("no request was answered")
    if received < succeeded * size:
        errors.append(f"{received} bytes are too few for {succeeded} bodies of {size}")
    return Load(
        requests=done,
        seconds=float(finished[1]) * _UNITS[finished[2]],
        received_bytes=received,
        p50_ms=_percentile(latencies, 50) / 1e3,
        p99_ms=_percentile(latencies, 99) / 1e3,
        errors=tuple(errors),
    )


def _logged(log: str) -> tuple[list[int], list[int]]:
    """Status and microseconds of each request that came to an end; one that did not has -1 for its status."""
    lines = [line.split("\t") for line in log.splitlines()]
    ended = [(int(status), int(duration)) for _began, status, duration, *_ in lines if status != "-1"]
    return [status for status, _ in ended], sorted(duration for _, duration in ended)


def _percentile(ordered: Sequence[int], percent: int) -> float:
    """The nearest rank; 0 of nothing."""
    return float(ordered[math.ceil(len(ordered) * percent / 100) - 1]) if ordered else 0.0

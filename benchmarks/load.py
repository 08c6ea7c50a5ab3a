"""The load of HTTP/1: wrk, driven by a generated script and read back as numbers.

Owns: the script (the 11 headers, the summary line), the reading of what wrk prints, and what every load gives (`Load`).
Refuses to know: what is being loaded.
"""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.model import REQUEST_HEADERS

MARK = "BENCHMARK "
# How much longer than its measured seconds a load may run before it counts as stuck.
GRACE_S = 15

# Without a `request` function wrk builds the request once: the script costs nothing while the load runs.
_DONE = """
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\n%s{"requests": %%d, "duration_us": %%d, "bytes": %%d, "p50_us": %%d, "p99_us": %%d, ' ..
    '"connect": %%d, "read": %%d, "write": %%d, "timeout": %%d, "status": %%d}\\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
"""


class LoadFailed(Exception):
    """The program that makes the load did not run to its end, or did not say what it did."""


@dataclass(frozen=True)
class Load:
    """What the program saw."""

    requests: int
    seconds: float
    received_bytes: int
    p50_ms: float
    p99_ms: float
    errors: tuple[str, ...]


def script() -> str:
    """The Lua script for wrk."""
    headers = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in REQUEST_HEADERS)
    return headers + _DONE % MARK


def parse(output: str, body_size: int) -> Load:
    """Read the summary line; anything but complete answers of status 2xx and 3xx is listed as an error."""
    line = next((line for line in output.splitlines() if line.startswith(MARK)), None)
    if line is None:
        raise LoadFailed(f"no summary in what wrk printed: {output[-500:]!r}")
    found: dict[str, int] = json.loads(line.removeprefix(MARK))
    kinds = ("connect", "read", "write", "timeout")
    errors = [f"{found[kind]} socket errors ({kind})" for kind in kinds if found[kind]]
    if found["status"]:
        errors.append(f"{found['status']} answers with a status of 400 or more")
    if not found["requests"]:
        errors.append("no request was answered")
    if found["bytes"] < found["requests"] * body_size:
        errors.append(f"{found['bytes']} bytes are too few for {found['requests']} bodies of {body_size}")
    return Load(
        requests=found["requests"],
        seconds=found["duration_us"] / 1e6,
        received_bytes=found["bytes"],
        p50_ms=found["p50_us"] / 1e3,
        p99_ms=found["p99_us"] / 1e3,
        errors=tuple(errors),
    )


def run(wrk: str, url: str, script_path: Path, seconds: int, connections: int) -> str:
    """Load `url` for so many seconds from one thread; returns what `parse` reads."""
    argv = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s", "-s", str(script_path), url]
    return output_of("wrk", argv, seconds)


def output_of(name: str, argv: Sequence[str], seconds: int) -> str:
    """What a program prints that ends by itself after so many seconds.

    Raises:
        LoadFailed: it does not, or fails.
    """
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + GRACE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise LoadFailed(f"{name} did not end {seconds + GRACE_S} s after its start") from error
    if done.returncode:
        raise LoadFailed(f"{name} ended with {done.returncode}: {done.stderr[-500:]}")
    return done.stdout

"""Proof that a row does its job before it is measured.

Owns: the check that answers are right and come from all targets, and that Equipoise runs compiled.
Refuses to know: what is measured afterwards.
"""

import contextlib
import http.client
import re
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.model import REQUEST_HEADERS, body_bytes, body_path

# With 5 targets and a balancer that picks at random, one is missed once in 10^9 runs.
REQUESTS = 100
MODE_DEADLINE_S = 5.0
READY_DEADLINE_S = 10.0


class NotSane(Exception):
    """A row answers wrongly, or is not what it is said to be."""


def wait_answering(port: int) -> None:
    """Return when a request gets 200 or the time is up: some peers listen before they know their routes."""
    end = time.monotonic() + READY_DEADLINE_S
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READY_DEADLINE_S)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", body_path("100B"), headers=dict(REQUEST_HEADERS))
            if connection.getresponse().status == http.client.OK:
                return
        time.sleep(0.02)


def check_answers(name: str, port: int, bodies: Sequence[str], targets: int) -> None:
    """Each body once, byte for byte; then enough small ones to see every target (or, of many, most of them)."""
    seen: set[str] = set()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        for body in [*bodies, *["100B"] * REQUESTS]:
            connection.request("GET", body_path(body), headers=dict(REQUEST_HEADERS))
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != http.client.OK:
                raise NotSane(f"{name} answered {answer.status} to {body}")
            if content != body_bytes(body):
                raise NotSane(f"{name} answered {body} with {len(content)} wrong bytes")
            seen.add(answer.headers["X-Target"])
    except (OSError, http.client.HTTPException) as error:
        raise NotSane(f"{name} did not answer: {error!r}") from error
    finally:
        connection.close()
    wanted = min(targets, REQUESTS // 2)
    if len(seen) < wanted:
        raise NotSane(f"{name} used {len(seen)} targets of {targets}")


def check_connections(name: str, port: int, targets: int) -> None:
    """For a row that balances connections, not requests: every target is reached by some of them."""
    seen: set[str] = set()
    for _ in range(REQUESTS):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", body_path("100B"), headers=dict(REQUEST_HEADERS))
        answer = connection.getresponse()
        answer.read()
        seen.add(answer.headers["X-Target"])
        connection.close()
    if len(seen) < targets:
        raise NotSane(f"{name} used {len(seen)} targets of {targets}")


def mode_in(text: str) -> str:
    """The mode that Equipoise named when it started, in any form of the application log; empty when it named none."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    flag = re.search(r"\bcompiled[\"']?\s*[=:]\s*[\"']?(true|false)\b", plain, re.IGNORECASE)
    if flag:
        return "compiled" if flag[1].lower() == "true" else "interpreted"
    word = re.search(r"\b(interpreted|compiled)\b", plain, re.IGNORECASE)
    return word[1].lower() if word else ""


def check_compiled(name: str, stderr_path: Path) -> None:
    """Equipoise's own word at start-up; a figure of the interpreted mode must never stand in a table as ours."""
    end = time.monotonic() + MODE_DEADLINE_S
    mode = ""
    while not mode and time.monotonic() < end:
        mode = mode_in(stderr_path.read_text(encoding="utf-8", errors="replace"))
        time.sleep(0.02)
    if mode != "compiled":
        raise NotSane(f"{name} does not say that it runs compiled, but {mode or 'nothing'!r}")

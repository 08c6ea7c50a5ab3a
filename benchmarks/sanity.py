"""Proof that a row does its job before it is measured.

Owns: the check that answers are right and come from all targets, and that Equipoise runs compiled.
Refuses to know: what is measured afterwards.
"""

import contextlib
import http.client
import re
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.model import BODIES, CACHE, CACHED, CALL, REQUEST_HEADERS, Link, Row, body_bytes, body_path
from benchmarks.sanity_http2 import Client

# With 5 targets and a balancer that picks at random, one is missed once in 10^9 runs.
REQUESTS = 100
MODE_DEADLINE_S = 5.0
READY_DEADLINE_S = 10.0
TIMEOUT_S = 10.0


class NotSane(Exception):
    """A row answers wrongly, or is not what it is said to be."""


def check(row: Row, port: int) -> None:
    """Wait until a row answers, then check that it answers well.

    Raises:
        NotSane: it does not.
    """
    bodies = [CALL] if row.link is Link.HTTP2 else [CACHED] if row.variant == CACHE else list(BODIES)
    _wait_answering(row.link, port, bodies[0])
    if row.variant == "tcp":
        _check_connections(row, port, bodies[0])
    else:
        _check_answers(row, port, bodies)


@dataclass(frozen=True)
class Answer:
    """What a row answered, in whatever protocol."""

    status: int
    target: str
    body: bytes


class Asker:
    """One connection to a row."""

    def __init__(self, link: Link, port: int) -> None:
        """Connect, or do so with the first question."""
        self._connection = Client(port) if link.http2 else _http1(link, port)

    def __enter__(self) -> Self:
        """Nothing to do."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave."""
        self._connection.close()

    def ask(self, body: str) -> Answer:
        """Ask for an answer with that body.

        Raises:
            OSError, http.client.HTTPException: there is none.
            NotSane: a call's trailers are lost.
        """
        if isinstance(self._connection, Client):
            answer = self._connection.ask(body)
            if body == CALL and answer.trailers.get("grpc-status") != "0":
                raise NotSane(f"the trailers of a call were {answer.trailers}")
            return Answer(answer.status, (answer.trailers | answer.fields).get("x-target", ""), answer.body)
        self._connection.request("GET", body_path(body), headers=dict(REQUEST_HEADERS))
        found = self._connection.getresponse()
        return Answer(found.status, found.headers["X-Target"] or "", found.read())


def _http1(link: Link, port: int) -> http.client.HTTPConnection:
    if link is not Link.TLS:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    context = ssl.create_default_context()
    # The certificate is of this run, signed by itself; it stands for nothing.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=context)


def _wait_answering(link: Link, port: int, body: str) -> None:
    """Return when a request gets 200 or the time is up: some peers listen before they know their routes."""
    end = time.monotonic() + READY_DEADLINE_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException, NotSane), Asker(link, port) as asker:
            if asker.ask(body).status == http.client.OK:
                return
        time.sleep(0.02)


def _check_answers(row: Row, port: int, bodies: Sequence[str]) -> None:
    """Each body once, byte for byte; then enough small ones to see every target (or, of many, most of them)."""
    seen: set[str] = set()
    try:
        with Asker(row.link, port) as asker:
            for body in [*bodies, *[bodies[0]] * REQUESTS]:
                answer = asker.ask(body)
                if answer.status != http.client.OK:
                    raise NotSane(f"{row.name} answered {answer.status} to {body}")
                if answer.body != body_bytes(body):
                    raise NotSane(f"{row.name} answered {body} with {len(answer.body)} wrong bytes")
                seen.add(answer.target)
    except (OSError, http.client.HTTPException) as error:
        raise NotSane(f"{row.name} did not answer: {error!r}") from error
    if row.variant == CACHE:
        if len(seen) != 1:
            raise NotSane(f"{row.name} asked {len(seen)} targets for what it should have kept")
        return
    # A command from the options need not use every target when idle.
    _check_seen(row, seen, 1 if row.kind == "other" else min(row.targets, REQUESTS // 2))


def _check_connections(row: Row, port: int, body: str) -> None:
    """For a row that balances connections, not requests: every target is reached by some of them."""
    seen: set[str] = set()
    for _ in range(REQUESTS):
        with Asker(row.link, port) as asker:
            seen.add(asker.ask(body).target)
    _check_seen(row, seen, row.targets)


def _check_seen(row: Row, seen: set[str], wanted: int) -> None:
    if len(seen) < wanted:
        raise NotSane(f"{row.name} used {len(seen)} targets of {row.targets}")


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

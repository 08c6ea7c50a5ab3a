"""The admin API of a real balancer, called over HTTP with real tokens.

Owns: calls with a token, made as `equipoise token` makes one and by it, and streams of events.
Refuses to know: what the answers should be.
"""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from equipoise.admin.auth import Grant
from equipoise.admin.auth import make_token as sign
from equipoise.config.load import load
from tests.scenarios.support.balancer import Balancer, environment
from tests.scenarios.support.polling import PATIENCE, eventually


@dataclass(frozen=True)
class Reply:
    """What a call was answered."""

    status: int
    fields: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self) -> str:
        """What a refusal says, once it is known to be one."""
        assert self.fields["content-type"] == "application/problem+json", self
        assert self.json["status"] == self.status
        return str(self.json["detail"])


def make_token(balancer: Balancer, role: str = "admin", *more: str) -> str:
    """What `equipoise token` prints."""
    command = [sys.executable, "-m", "equipoise", "token", "-c", str(balancer.config), "--role", role, *more]
    done = subprocess.run(
        command, cwd=balancer.folder, env=environment(), capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    return done.stdout.strip()


class Admin:
    """The admin API of a balancer. Makes a token of each role once."""

    def __init__(self, balancer: Balancer) -> None:
        self.balancer = balancer
        self.port = int(str(balancer.wait_for("admin API listening")["address"]).rpartition(":")[2])
        self._tokens: dict[str, str] = {}

    def token(self, role: str = "admin") -> str:
        """What the command would print, without its process: most calls are about something else."""
        if role not in self._tokens:
            config = load(self.balancer.config)
            config = msgspec.structs.replace(config, state_dir=str(self.balancer.folder / config.state_dir))
            self._tokens[role] = sign(config, Grant("admin" if role == "admin" else "read"))
        return self._tokens[role]

    def bearer(self, role: str = "admin") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(role)}"}

    def ask(self, method: str, path: str, body: object = None, role: str = "admin", **fields: str) -> Reply:
        """A call with a token of a role ("" for none); a body that is not bytes is sent as JSON."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        if role:
            headers |= self.bearer(role)
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        return self.send(method, path, headers, body)

    def send(self, method: str, path: str, headers: Mapping[str, str], body: Any = None) -> Reply:
        """A call with these headers, on a connection of its own."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            connection.request(method, path, body, dict(headers), encode_chunked=not isinstance(body, bytes | None))
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, fields, response.read())

    def done(self, method: str, path: str, body: object = None, **fields: str) -> Any:
        """The answer of a call that succeeds."""
        reply = self.ask(method, path, body, **fields)
        assert reply.status in {200, 201}, reply
        return reply.json

    def status(self) -> Any:
        return self.done("GET", "/v1/status")

    def target(self, name: str, pool: str = "default") -> Any:
        """A target in the status; None when it is not there."""
        targets = self.status()["pools"][pool]["targets"]
        return next((target for target in targets if target["name"] == name), None)

    def wait_until(self, name: str, **wanted: object) -> Any:
        """A target, once it is as wanted."""
        return eventually(lambda: self.target(name), lambda seen: seen is not None and wanted.items() <= seen.items())

    @contextmanager
    def events(self, **fields: str) -> Iterator[Iterator[tuple[str, Any]]]:
        """The events as they come: kind and data. They end when the stream does."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            headers = {name.replace("_", "-"): value for name, value in fields.items()}
            connection.request("GET", "/v1/events", headers=headers | self.bearer("read"))
            response = connection.getresponse()
            assert response.status == 200
            yield _read(response)


def _read(response: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    block: dict[str, str] = {}
    while line := response.readline():
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            block[name] = value
        else:
            yield block["event"], json.loads(block["data"])
            block = {}


def next_event(events: Iterator[tuple[str, Any]], kind: str, **wanted: object) -> Any:
    """The next event of a kind with these fields."""
    for found, data in events:
        if found == kind and wanted.items() <= data.items():
            return data
    raise AssertionError(f"the stream ended before {kind} {wanted}")

"""HTTP/2 over TLS, chosen by ALPN: curl, Python's own ssl, and Chromium."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosedError

from tests.conftest import search_path
from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.http2_client import PROTOCOL_ERROR, Http2Client, head
from tests.scenarios.support.pairs import Turn, target_of
from tests.scenarios.support.polling import PATIENCE, eventually
from tests.scenarios.support.secure import SecureClient, trusting
from tests.scenarios.support.stage import Stage, Target
from tests.support.certificates import Authority

HOST = "shop.example"
# It runs as root in containers, where its sandbox cannot be; and it must not look for updates on its own.
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
PAGE = b"<!doctype html><title>shop</title><link rel=icon href=data:,><script src=/one.js></script><p>open</p>"


@dataclass
class Front:
    """A balancer that speaks TLS."""

    balancer: Balancer
    authority: Authority
    folder: Path
    port: int

    @property
    def url(self) -> str:
        """What a browser is told."""
        return f"https://{HOST}:{self.port}"


@pytest.fixture
def front(balance: Balance, tmp_path: Path) -> Callable[[list[Target]], Front]:
    """Starts a balancer with a TLS listener that offers both protocols."""

    def start(targets: list[Target]) -> Front:
        authority = Authority()
        authority.write(tmp_path)
        authority.issue(HOST).write(tmp_path, "shop")
        lines = f'certificate_file = "{tmp_path}/shop.pem"\nkey_file = "{tmp_path}/shop.key"'
        more = f'[[listeners]]\naddress = "127.0.0.1:0"\n[listeners.tls]\n{lines}\n'
        balancer = balance(targets, Setting(more=more))
        port = int(balancer.find("listening")[1]["address"].rpartition(":")[2])
        return Front(balancer, authority, tmp_path, port)

    return start


async def shop(turn: Turn) -> None:
    """A page with a script, an echo, and something large."""
    path = turn.request.target
    body = await turn.body()
    if path == "/":
        await turn.answer(PAGE, ("content-type", "text/html"))
    elif path == "/one.js":
        await turn.answer(b"window.one = 1", ("content-type", "text/javascript"))
    elif path == "/large":
        await turn.head(200)
        for _ in range(64):
            await turn.write(b"x" * 16_384)
        await turn.end()
    else:
        await turn.answer(body, ("x-proto", turn.request.get("x-forwarded-proto") or ""))


@pytest.mark.needs("curl")
@pytest.mark.parametrize(("option", "version"), [("--http2", "HTTP/2 200"), ("--http1.1", "HTTP/1.1 200")])
@pytest.mark.parametrize("up", ["h1", "h2"])
def test_curl_gets_the_protocol_that_it_asks_for(
    stage: Stage, front: Callable[[list[Target]], Front], up: str, option: str, version: str
) -> None:
    shown = front([target_of(stage, up, shop)])
    certificate, resolve = f"--cacert={shown.folder / 'ca.pem'}", f"{HOST}:{shown.port}:127.0.0.1"
    command = ["curl", "-sS", "--include", option, "--resolve", resolve, "--data", "hello", f"{shown.url}/echo"]
    done = subprocess.run(
        [*command, *certificate.split("=")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
        env={"PATH": search_path()},
    )
    assert done.stdout.startswith(version)
    assert "x-proto: https" in done.stdout
    assert done.stdout.endswith("hello")


def test_a_client_that_offers_both_gets_http_2(stage: Stage, front: Callable[[list[Target]], Front]) -> None:
    shown = front([target_of(stage, "h2", shop)])
    secure = SecureClient(shown.port, trusting(shown.authority, protocols=("h2", "http/1.1")), HOST)
    assert secure.tls.selected_alpn_protocol() == "h2"
    client = Http2Client(shown.port, sock=secure.tls)
    fields = [(name, b"https" if name == b":scheme" else value) for name, value in head("POST", "/echo")]
    streams = [client.request(fields, end=False) for _ in range(20)]
    for stream in streams:
        client.write(stream, b"%d" % stream, end=True)
    assert [client.answer(stream).body for stream in streams] == [b"%d" % stream for stream in streams]
    assert client.answer(streams[0]).get("x-proto") == "https"


def test_a_connection_that_breaks_the_rules_hears_why(stage: Stage, front: Callable[[list[Target]], Front]) -> None:
    """TLS has no half-close: the GOAWAY must not be lost all the same."""
    shown = front([target_of(stage, "h1", shop)])
    secure = SecureClient(shown.port, trusting(shown.authority, protocols=("h2",)), HOST)
    client = Http2Client(shown.port, sock=secure.tls)
    # DATA on the connection, and much behind it.
    client.send(b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x" + bytes(100_000))
    client.wait(lambda: client.found(7), "a GOAWAY")
    assert client.found(7)[0].code == PROTOCOL_ERROR


@pytest.fixture
def page() -> Iterator[Page]:
    """A page in Chromium, which takes any certificate and finds every name on this machine."""
    rules = f"--host-resolver-rules=MAP {HOST} 127.0.0.1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=[*OPTIONS, rules])
        context = browser.new_context(ignore_https_errors=True)
        context.set_default_timeout(PATIENCE * 1000)
        yield context.new_page()
        browser.close()


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("up", ["h1", "h2"])
def test_chromium_speaks_http_2(stage: Stage, front: Callable[[list[Target]], Front], page: Page, up: str) -> None:
    shown = front([target_of(stage, up, shop)])
    page.goto(shown.url)
    assert page.title() == "shop"
    assert page.evaluate("window.one") == 1
    protocols = page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".filter(entry => entry.name.startsWith('https:')).map(entry => entry.nextHopProtocol)"
    )
    assert set(protocols) == {"h2"}
    assert len(protocols) >= 2
    echoed = page.evaluate(
        "Promise.all([...Array(50).keys()].map(async n => {"
        " const answer = await fetch('/echo', {method: 'POST', body: 'number ' + n});"
        " return answer.status + ' ' + await answer.text() }))"
    )
    assert echoed == [f"200 number {number}" for number in range(50)]
    assert page.evaluate("fetch('/large').then(a => a.text()).then(t => t.length)") == 64 * 16_384
    shown.balancer.wait_idle()
    lines = shown.balancer.access_log(53)
    assert {line["protocol"] for line in lines} == {"HTTP/2"}


@pytest.mark.needs("chromium")
def test_chromium_aborts_one_request_and_goes_on(
    stage: Stage, front: Callable[[list[Target]], Front], page: Page
) -> None:
    gone: list[str] = []

    async def script(turn: Turn) -> None:
        if turn.request.target != "/slow":
            await shop(turn)
            return
        await turn.head(200)
        await turn.write(b"begun")
        await turn.gone()
        gone.append("gone")

    shown = front([target_of(stage, "h2", script)])
    page.goto(shown.url)
    aborted = page.evaluate(
        "(async () => { const stop = new AbortController();"
        " const answer = await fetch('/slow', {signal: stop.signal});"
        " await answer.body.getReader().read(); stop.abort();"
        " return await (await fetch('/echo', {method: 'POST', body: 'next'})).text() })()"
    )
    assert aborted == "next"
    eventually(lambda: gone == ["gone"])
    shown.balancer.wait_idle()


@pytest.fixture
def application(stage: Stage) -> Iterator[Target]:
    """A WebSocket application that says everything twice."""

    async def talk(connection: ServerConnection) -> None:
        with suppress(ConnectionClosedError):
            async for message in connection:
                await connection.send(message * 2)

    async def start() -> Server:
        return await serve(talk, "127.0.0.1", 0, compression=None)

    server = stage.run(start())
    target = stage.closed_port()
    target.port = server.sockets[0].getsockname()[1]
    yield target

    async def stop() -> None:
        server.close()
        await server.wait_closed()

    stage.run(stop())


@pytest.mark.needs("chromium")
def test_chromium_opens_a_websocket_on_its_connection(
    front: Callable[[list[Target]], Front], application: Target, page: Page
) -> None:
    """With a connection of HTTP/2 at hand that allows it, Chromium makes a stream of the WebSocket (RFC 8441)."""
    shown = front([application])
    # Whatever it answers: there is a connection then, and an origin.
    page.goto(f"{shown.url}/", wait_until="commit")
    said = page.evaluate(
        "new Promise((resolve, reject) => { const socket = new WebSocket(location.origin.replace('https', 'wss'));"
        " socket.onopen = () => socket.send('hey');"
        " socket.onmessage = event => { resolve(event.data); socket.close() };"
        " socket.onerror = () => reject(new Error('no')) })"
    )
    assert said == "heyhey"
    shown.balancer.wait_idle()
    lines = eventually(lambda: [line for line in shown.balancer.access_log() if line["method"] == "CONNECT"])
    assert lines[0]["protocol"] == "HTTP/2"

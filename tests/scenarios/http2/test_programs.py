"""Programs that others wrote, at either end: curl, nghttp, h2load, nghttpd."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import search_path
from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Setting
from tests.scenarios.support.http2_client import Http2Client, head
from tests.scenarios.support.http2_target import Http2Call, Http2Target, answers, echoes
from tests.scenarios.support.pairs import Turn, target_of
from tests.scenarios.support.polling import PATIENCE, eventually
from tests.scenarios.support.stage import Stage, Target

MakeTarget = Callable[..., Http2Target]
CURL = ["curl", "--silent", "--show-error", "--max-time", f"{PATIENCE:g}", "--http2-prior-knowledge"]


def run(*command: str, stdin: bytes = b"") -> str:
    """What a program prints; it must succeed."""
    done = subprocess.run(
        command, input=stdin, capture_output=True, timeout=PATIENCE * 2, check=False, env={"PATH": search_path()}
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-1000:], done.stdout[-1000:])
    return done.stdout.decode("latin-1")


async def echo(turn: Turn) -> None:
    """The body of the request."""
    await turn.answer(await turn.body(), ("x-target", "yes"))


@pytest.mark.needs("curl")
@pytest.mark.parametrize("up", ["h1", "h2"])
def test_curl_gets_and_posts(stage: Stage, balance: Balance, up: str, tmp_path: Path) -> None:
    balancer = balance([target_of(stage, up, echo)])
    body = tmp_path / "body"
    body.write_bytes(bytes(range(256)) * 1000)
    url = f"http://127.0.0.1:{balancer.port}/path?query"
    printed = run(*CURL, "--include", url)
    assert printed.startswith("HTTP/2 200")
    assert "x-target: yes" in printed
    back = tmp_path / "back"
    run(*CURL, "--data-binary", f"@{body}", "--output", str(back), url)
    assert back.read_bytes() == body.read_bytes()
    # From a pipe it does not know the length beforehand.
    run(*CURL, "--upload-file", "-", "--output", str(back), url, stdin=body.read_bytes())
    assert back.read_bytes() == body.read_bytes()


@pytest.mark.needs("curl")
def test_curl_asks_for_many_things_at_once(balance: Balance, h2_target: MakeTarget, tmp_path: Path) -> None:
    async def script(call: Http2Call) -> None:
        await call.head(200)
        await call.write(call.request.target.encode() * 1000)
        await call.end()

    balancer = balance([h2_target(script)])
    url = f"http://127.0.0.1:{balancer.port}/[1-30]"
    run(*CURL, "--parallel", "--parallel-immediate", "--output", f"{tmp_path}/#1", url)
    for number in range(1, 31):
        assert (tmp_path / str(number)).read_text() == f"/{number}" * 1000


@pytest.mark.needs("curl")
@pytest.mark.parametrize("up", ["h1", "h2"])
def test_curl_sees_no_body_behind_head_204_and_304(stage: Stage, balance: Balance, up: str) -> None:
    async def script(turn: Turn) -> None:
        status = int(turn.request.target[1:])
        await turn.head(status, ("etag", '"7"'), framing="by length")
        await turn.end()

    balancer = balance([target_of(stage, up, script)])
    url = f"http://127.0.0.1:{balancer.port}"
    # One at a time: curl 7.88 fails by itself when it asks again behind an answer without a body.
    for status in (204, 304):
        assert run(*CURL, "--include", f"{url}/{status}").startswith(f"HTTP/2 {status}")
    assert run(*CURL, "--head", f"{url}/200").startswith("HTTP/2 200")


@pytest.mark.needs("curl")
def test_curl_may_upgrade_and_is_served_over_http_1(balance: Balance, h2_target: MakeTarget) -> None:
    """`--http2` offers h2c in clear text, which RFC 9113 took out: the offer is passed over."""
    balancer = balance([h2_target(answers)])
    printed = run("curl", "-sS", "--http2", "--include", f"http://127.0.0.1:{balancer.port}/")
    assert printed.startswith("HTTP/1.1 200")
    assert printed.endswith("ok")


@pytest.mark.needs("nghttp")
@pytest.mark.parametrize("up", ["h1", "h2"])
def test_nghttp_sends_trailers_continuations_and_padding(
    stage: Stage, balance: Balance, up: str, tmp_path: Path
) -> None:
    seen: list[list[tuple[str, str]]] = []

    async def script(turn: Turn) -> None:
        await turn.body()
        seen.append(turn.request.trailers)
        await turn.head(200)
        await turn.write(b"%d" % len(turn.request.body))
        await turn.end(("x-sum", "7"))

    balancer = balance([target_of(stage, up, script)])
    body = tmp_path / "body"
    body.write_bytes(b"x" * 100_000)
    url = f"http://127.0.0.1:{balancer.port}/"
    options = [
        "--no-dep",
        "--padding=100",
        "--continuation",
        "-H",
        "te: trailers",
        "--trailer=x-check: 9",
        "--no-content-length",
    ]
    printed = run("nghttp", "--verbose", *options, f"--data={body}", url)
    assert ":status: 200" in printed
    assert "100000" in printed
    assert "x-sum: 7" in printed
    assert seen == [[("x-check", "9")]]


@pytest.mark.needs("nghttp")
def test_nghttp_that_expects_continue_gets_it(balance: Balance, h2_target: MakeTarget, tmp_path: Path) -> None:
    async def script(call: Http2Call) -> None:
        await call.interim(100)
        await echoes(call)

    balancer = balance([h2_target(script)])
    body = tmp_path / "body"
    body.write_bytes(b"hello")
    url = f"http://127.0.0.1:{balancer.port}/"
    printed = run("nghttp", "--verbose", "--expect-continue", f"--data={body}", url)
    assert ":status: 100" in printed
    assert ":status: 200" in printed


@pytest.mark.needs("nghttp")
def test_nghttp_with_small_windows_gets_a_large_answer(balance: Balance, h2_target: MakeTarget, scale: int) -> None:
    size = 200_000 * scale

    async def script(call: Http2Call) -> None:
        await call.head(200, ("content-length", str(size)))
        await call.write(bytes(size))
        await call.end()

    balancer = balance([h2_target(script)])
    url = f"http://127.0.0.1:{balancer.port}/"
    printed = run("nghttp", "--stat", "--null-out", "--window-bits=10", "--connection-window-bits=16", "-m3", url)
    assert len(re.findall(r" 200 ", printed)) == 3


@pytest.mark.needs("h2load")
@pytest.mark.parametrize("up", ["h1", "h2"])
@pytest.mark.parametrize("load", [(4, 16), (32, 1), (1, 100)], ids=lambda load: f"{load[0]} x {load[1]}")
def test_h2load_has_every_request_answered(
    stage: Stage, balance: Balance, up: str, load: tuple[int, int], scale: int
) -> None:
    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.answer(b"x" * 100)

    targets = [target_of(stage, up, script) for _ in range(2)]
    balancer = balance(targets, Setting(workers=2))
    count = 200 * scale
    url = f"http://127.0.0.1:{balancer.port}/"
    printed = run("h2load", f"-n{count}", f"-c{load[0]}", f"-m{load[1]}", url)
    assert f"{count} done, {count} succeeded, 0 failed, 0 errored, 0 timeout" in printed
    assert sum(len(target.requests) for target in targets) == count
    balancer.wait_idle()


@pytest.fixture
def nghttpd(stage: Stage, tmp_path: Path) -> Iterator[Target]:
    """A target that is nghttpd."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(b"from nghttpd" * 10_000)
    target = Http2Target(stage, answers)
    target.start()
    target.stop()
    options = ["--no-tls", "--address=127.0.0.1", f"--htdocs={tmp_path / 'www'}", "--trailer=x-sum: 7", "--echo-upload"]
    command = ["nghttpd", *options, str(target.port)]
    with (tmp_path / "nghttpd.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={"PATH": search_path()})
    try:
        yield target
    finally:
        process.kill()
        process.wait()


@pytest.mark.needs("nghttpd")
def test_nghttpd_is_a_target(balance: Balance, nghttpd: Target) -> None:
    balancer = balance([nghttpd])
    client = Http2Client(balancer.port)
    message = eventually(lambda: client.ask(head("GET", "/file")), lambda message: message.status == 200)
    assert message.body == b"from nghttpd" * 10_000
    assert message.trailers == [("x-sum", "7")]
    assert client.ask(head("POST", "/file"), b"hello" * 10_000).body == b"hello" * 10_000
    assert client.ask(head("GET", "/none")).status == 404
    streams = [client.request(head("GET", "/file")) for _ in range(50)]
    assert {client.answer(stream).body for stream in streams} == {b"from nghttpd" * 10_000}
    balancer.wait_idle()


@pytest.mark.needs("curl")
def test_the_log_tells_the_protocol_of_each_client(balance: Balance, h2_target: MakeTarget) -> None:
    balancer = balance([h2_target(answers)])
    url = f"http://127.0.0.1:{balancer.port}"
    run(*CURL, f"{url}/two")
    run("curl", "-sS", f"{url}/one")
    run("curl", "-sS", "--http1.0", f"{url}/zero")
    lines = {line["path"]: line for line in balancer.access_log(3)}
    assert {path: line["protocol"] for path, line in lines.items()} == {
        "/two": "HTTP/2",
        "/one": "HTTP/1.1",
        "/zero": "HTTP/1.0",
    }
    assert lines["/two"]["host"] == f"127.0.0.1:{balancer.port}"
    assert json.dumps(lines["/two"]["client"]).startswith('"127.0.0.1')

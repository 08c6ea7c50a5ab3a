import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from equipoise.cli.app import app
from tests.unit.runtime.parts import free_port, tiny_target

READY = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nready"
EMPTY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 14\r\n\r\nno target is up"


def healthcheck(*words: str) -> Result:
    return CliRunner().invoke(app, ["healthcheck", *words])


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("EQUIPOISE_ADMIN", "EQUIPOISE_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def test_one_that_takes_requests_is_well_and_nothing_is_said() -> None:
    with tiny_target(READY) as balancer:
        result = healthcheck("--admin", f"http://127.0.0.1:{balancer.port}")
    assert (result.exit_code, result.output) == (0, "")
    assert balancer.requests[0].startswith(b"GET /readyz HTTP/1.1\r\n")


def test_one_that_takes_none_is_not_and_says_why() -> None:
    with tiny_target(EMPTY) as balancer:
        result = healthcheck("--admin", f"http://127.0.0.1:{balancer.port}")
    assert result.exit_code == 1
    assert "503 no target is u" in result.stderr


def test_live_asks_for_the_process_alone() -> None:
    with tiny_target(READY) as balancer:
        healthcheck("--live", "--admin", f"http://127.0.0.1:{balancer.port}")
    assert balancer.requests[0].startswith(b"GET /healthz HTTP/1.1\r\n")


def test_the_address_is_that_of_the_configuration(tmp_path: Path) -> None:
    with tiny_target(READY) as balancer:
        text = f'listen = "127.0.0.1:0"\n[admin]\nlisten = "0.0.0.0:{balancer.port}"\n[pools.default]\ntargets = []\n'
        (tmp_path / "equipoise.toml").write_text(text)
        assert healthcheck().exit_code == 0


def test_no_token_is_made_or_sent() -> None:
    with tiny_target(READY) as balancer:
        healthcheck("--admin", f"http://127.0.0.1:{balancer.port}")
    assert b"authorization" not in balancer.requests[0].lower()


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with tiny_target(READY) as balancer:
        assert healthcheck("--admin", f"http://127.0.0.1:{balancer.port}").exit_code == 0


def test_anything_else_can_be_asked() -> None:
    with tiny_target(READY) as target:
        assert healthcheck("--url", f"http://127.0.0.1:{target.port}/healthz?a=1").exit_code == 0
    assert target.requests[0].startswith(b"GET /healthz?a=1 HTTP/1.1\r\n")


def test_nobody_there_is_not_well() -> None:
    result = healthcheck("--admin", f"http://127.0.0.1:{free_port()}")
    assert result.exit_code == 1
    assert "refused" in result.stderr


def test_an_answer_that_is_no_http_is_not_well() -> None:
    with tiny_target(b"SSH-2.0-OpenSSH_9.2\r\n") as other:
        assert healthcheck("--url", f"http://127.0.0.1:{other.port}/").exit_code == 1


def test_one_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        result = healthcheck("--url", f"http://127.0.0.1:{silent.getsockname()[1]}/", "--timeout", "0.1")
    assert result.exit_code == 1
    assert "timed out" in result.stderr


@pytest.mark.parametrize("url", ["localhost:80", "ftp://x/", "http://[::1", "http://x:y/"])
def test_what_is_no_url_is_wrong_usage(url: str) -> None:
    assert healthcheck("--url", url).exit_code == 2


def test_an_admin_api_that_is_off_cannot_be_asked(tmp_path: Path) -> None:
    text = 'listen = "127.0.0.1:0"\n[admin]\nenabled = false\n[pools.default]\ntargets = []\n'
    (tmp_path / "equipoise.toml").write_text(text)
    result = healthcheck()
    assert result.exit_code == 1
    assert "switched off" in result.stderr

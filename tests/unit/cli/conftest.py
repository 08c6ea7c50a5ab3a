from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from equipoise.cli.app import app
from tests.support.admin_api import ScriptedApi, status, target

Run = Callable[..., Result]


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    """A balancer with one pool of two targets."""
    with ScriptedApi() as api:
        api.says("GET /v1/status", status(default=[target("a", in_flight=3), target("b")]))
        yield api


@pytest.fixture
def run(api: ScriptedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command against it, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("EQUIPOISE_ADMIN", "EQUIPOISE_TOKEN", "EQUIPOISE_CONFIG"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--admin", api.url, "--token", "t"])

    return run

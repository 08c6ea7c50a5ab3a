"""The fixture, in a run of pytest of its own."""

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import equipoise

ROOT = Path(__file__).parents[3]
TESTS = """
import urllib.request
import pytest
from equipoise import ConfigError
from equipoise.library.pytest_plugin import StartBalancer

seen = []

def test_two_balancers(equipoise_balancer: StartBalancer) -> None:
    inner = equipoise_balancer({"pools": {"default": {"targets": [TARGET]}}})
    text = f'listen = "0.0.0.0:80"\\n[pools.default]\\ntargets = ["{inner.url}"]\\n'
    outer = equipoise_balancer(text, free_ports=True)
    seen.extend([inner.pid, outer.pid])
    assert urllib.request.urlopen(outer.url).read().startswith(b"hello")

def test_they_are_gone() -> None:
    import os
    assert len(seen) == 2
    for pid in seen:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

def test_a_bad_configuration(equipoise_balancer: StartBalancer) -> None:
    with pytest.raises(ConfigError):
        equipoise_balancer({})
"""


def test_the_fixture_starts_balancers_that_end_with_the_test(target: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(f"TARGET = {target!r}\n{TESTS}")
    home = str(Path(equipoise.__file__).parents[1])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "equipoise.library.pytest_plugin", "test_it.py"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": home, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_the_package_tells_pytest_where_the_fixture_is() -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert [hasattr(import_module(module), "equipoise_balancer") for module in points.values()] == [True]


def test_a_run_of_pytest_that_starts_no_balancer_loads_none() -> None:
    show = "print([name for name in sys.modules if name.startswith('equipoise.')])"
    command = [sys.executable, "-c", f"import sys, equipoise.library.pytest_plugin; {show}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "['equipoise.library', 'equipoise.library.pytest_plugin']"

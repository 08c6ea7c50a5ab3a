"""`equipoise check` and the start, with files that are not what they should be."""

import subprocess
import sys
from pathlib import Path

from tests.scenarios.support.balancer import Setting, environment
from tests.scenarios.support.polling import PATIENCE
from tests.scenarios.tls.conftest import listener, pair
from tests.support.certificates import EXPIRED, Authority, make_key, pem


def equipoise(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """A command with a configuration whose listener has the certificate `a`."""
    config = folder / "equipoise.toml"
    config.write_text(Setting(more=listener(pair(folder, "a"))).text(["http://127.0.0.1:1"]))
    return subprocess.run(
        [sys.executable, "-m", "equipoise", command, "-c", str(config)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def test_good_files_are_good(certificates: Path) -> None:
    found = equipoise(certificates, "check")
    assert (found.returncode, found.stderr) == (0, "")


def test_a_certificate_that_expired_is_a_warning(certificates: Path, ca: Authority) -> None:
    ca.issue("a.example", days=EXPIRED).write(certificates, "a")
    found = equipoise(certificates, "check")
    assert found.returncode == 0
    assert found.stderr.startswith("warning: listeners[0].tls.certificate_file: the certificate")


def test_a_key_that_does_not_fit_is_a_problem_with_its_line(certificates: Path) -> None:
    (certificates / "a.key").write_bytes(pem(make_key()))
    found = equipoise(certificates, "check")
    assert found.returncode == 2
    assert found.stderr.startswith("listeners[0].tls.key_file (line ")
    assert "does not belong to the certificate" in found.stderr


def test_the_balancer_does_not_start_with_files_that_are_not_there(certificates: Path) -> None:
    (certificates / "a.pem").unlink()
    found = equipoise(certificates, "run")
    assert found.returncode == 2
    assert "listeners[0].tls.certificate_file" in found.stderr
    assert "No such file or directory" in found.stderr

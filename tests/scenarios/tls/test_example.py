"""The example with its own certificates and its own targets does what its page says."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.scenarios.support.balancer import Balancer
from tests.scenarios.support.client import GET
from tests.scenarios.support.secure import SecureClient, trusting
from tests.scenarios.tls.test_listeners import is_refused

EXAMPLE = Path(__file__).parents[3] / "examples" / "tls"


class Ca:
    """The example's authority, as far as clients know it."""

    def __init__(self, folder: Path) -> None:
        self.pem = (folder / "ca.pem").read_bytes()


def make_certificates(folder: Path) -> None:
    subprocess.run([sys.executable, "make_certificates.py"], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example, with certificates."""
    folder = tmp_path / "tls"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "certificates"))
    make_certificates(folder)
    return folder


@pytest.fixture
def balancer(folder: Path) -> Iterator[Balancer]:
    """The example's balancer before its two targets, on other ports than its file says."""
    with ExitStack() as ending:
        text = (folder / "equipoise.toml").read_text()
        for port in ("9001", "9002"):
            target = subprocess.Popen(
                [sys.executable, "target.py", "0"],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            ending.callback(target.wait)
            ending.callback(target.kill)
            assert target.stdout is not None
            ending.callback(target.stdout.close)
            text = text.replace(port, target.stdout.readline().rpartition(":")[2].strip())
        text = text.replace(":8443", ":0").replace(":9443", ":0")
        yield ending.enter_context(Balancer(folder, f"workers = 1\n{text}\n[admin]\nenabled = false\n"))


def port(balancer: Balancer, number: int) -> int:
    return int(balancer.find("listening")[number]["address"].rpartition(":")[2])


def test_the_example_serves_each_name_with_its_certificate(balancer: Balancer, folder: Path) -> None:
    context = trusting(Ca(folder / "certificates"))
    for name, shown in (("localhost", "www.example.org"), ("a.apps.example.org", "*.apps.example.org")):
        with SecureClient(port(balancer, 0), context, name) as client:
            assert (client.names[0], client.ask(GET).status) == (shown, 200)


def test_the_example_lets_machines_in_by_their_certificate(balancer: Balancer, folder: Path) -> None:
    certificates = folder / "certificates"
    context = trusting(Ca(certificates))
    context.check_hostname = False
    assert is_refused(port(balancer, 1), context)
    context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    assert not is_refused(port(balancer, 1), context)


def test_the_example_renews_its_certificates_while_it_runs(balancer: Balancer, folder: Path) -> None:
    before = (folder / "certificates/www.pem").read_bytes()
    make_certificates(folder)
    balancer.wait_for("certificates renewed")
    assert (folder / "certificates/www.pem").read_bytes() != before
    with SecureClient(port(balancer, 0), trusting(Ca(folder / "certificates")), "localhost") as client:
        assert client.ask(GET).status == 200

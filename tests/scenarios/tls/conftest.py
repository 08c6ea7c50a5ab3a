"""A balancer with a plain listener and one that speaks TLS."""

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import Balance, Lend
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.secure import showing, trusting
from tests.scenarios.support.stage import Script, Stage, Target
from tests.support.certificates import EXPIRED, Authority

Secure = Callable[..., "SecureBalancer"]
LendSecure = Callable[..., tuple["SecureBalancer", Target]]


class SecureBalancer:
    """The balancer, the folder of its certificates, and the port of its TLS listener."""

    def __init__(self, balancer: Balancer, certificates: Path) -> None:
        self.balancer = balancer
        self.certificates = certificates
        self.plain = balancer.port
        self.port = int(balancer.find("listening")[1]["address"].rpartition(":")[2])


@pytest.fixture(scope="session")
def ca() -> Authority:
    """The authority that everybody trusts."""
    return Authority()


@pytest.fixture(scope="session")
def stranger() -> Authority:
    """An authority that nobody knows."""
    return Authority("Stranger CA")


@pytest.fixture
def certificates(tmp_path: Path, ca: Authority) -> Path:
    """A folder with the authority and a certificate for a.example."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    ca.write(folder)
    ca.issue("a.example").write(folder, "a")
    return folder


def pair(folder: Path, name: str) -> str:
    """The lines of a certificate and its key."""
    return f'certificate_file = "{folder}/{name}.pem"\nkey_file = "{folder}/{name}.key"\n'


def listener(lines: str) -> str:
    """A TLS listener."""
    return f'[[listeners]]\naddress = "127.0.0.1:0"\n[listeners.tls]\n{lines}\n'


@pytest.fixture
def secure(balance: Balance, stage: Stage, certificates: Path) -> Secure:
    """Starts a balancer with a TLS listener for a.example, before one target unless others are given."""

    def start(targets: Sequence[Target] = (), tls: str = "", **setting: Any) -> SecureBalancer:
        text = listener(tls or pair(certificates, "a"))
        made = Setting(more=text + setting.pop("more", ""), **setting)
        return SecureBalancer(balance(targets or [stage.target()], made), certificates)

    return start


@pytest.fixture(scope="module")
def lent_certificates(tmp_path_factory: pytest.TempPathFactory, ca: Authority) -> Path:
    """A folder with the authority and the certificates a.example, *.b.example and c.b.example, for tests that share."""
    folder = tmp_path_factory.mktemp("certificates")
    ca.write(folder)
    for name, file in (("a.example", "a"), ("*.b.example", "b"), ("c.b.example", "c")):
        ca.issue(name).write(folder, file)
    return folder


@pytest.fixture(scope="module")
def lend_secure(lend: Lend, lent_certificates: Path) -> LendSecure:
    """Lends a balancer as `secure` makes one, with certificates of `lent_certificates`."""

    def start(script: Script | None = None, tls: str = "") -> tuple[SecureBalancer, Target]:
        setting = Setting(more=listener(tls or pair(lent_certificates, "a")))
        balancer, target = lend(script, setting)
        return SecureBalancer(balancer, lent_certificates), target

    return start


class Clients:
    """Contexts of clients with certificates good and bad."""

    def __init__(self, ca: Authority, stranger: Authority, folder: Path) -> None:
        self.folder = folder
        self._ca = ca
        self._makers = {
            "good": lambda: ca.issue("client"),
            "strange": lambda: stranger.issue("client"),
            "expired": lambda: ca.issue("client", days=EXPIRED),
        }

    def context(self, kind: str, newest: str = "1.3") -> ssl.SSLContext:
        """A client's context; "none" shows nothing."""
        context = trusting(self._ca, newest=newest)
        return context if kind == "none" else showing(context, self._makers[kind](), self.folder)


@pytest.fixture
def clients(ca: Authority, stranger: Authority, lent_certificates: Path) -> Clients:
    """Clients, and the folder with the authority of the good ones."""
    return Clients(ca, stranger, lent_certificates)

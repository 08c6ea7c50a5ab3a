"""Certificates that change while the balancer runs: new handshakes get them, connections never notice."""

import os
import signal
import ssl
from pathlib import Path

import pytest

from tests.scenarios.support.client import GET, fetch
from tests.scenarios.support.messages import ClosedEarlyError
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.secure import SecureClient, serving, trusting
from tests.scenarios.support.stage import Stage
from tests.scenarios.tls.conftest import Clients, Secure, SecureBalancer, pair
from tests.support.certificates import Authority

STAYS = "certificates not renewed, the old ones stay"


def names(balancer: SecureBalancer, ca: Authority) -> list[str]:
    """For whom the certificate is that a new client gets."""
    with SecureClient(balancer.port, trusting(ca)) as client:
        assert client.ask(GET).status == 200
        return client.names


def test_a_renewed_certificate_is_shown_without_anybody_asking(
    secure: Secure, certificates: Path, ca: Authority
) -> None:
    balancer = secure(workers=2)
    with SecureClient(balancer.port, trusting(ca)) as kept:
        assert kept.ask(GET).status == 200
        ca.issue("a.example", "new.example").write(certificates, "a")
        line = balancer.balancer.wait_for("certificates renewed")
        assert line["files"] == [f"{certificates}/a.key", f"{certificates}/a.pem"]
        assert [names(balancer, ca) for _ in range(8)] == [["a.example", "new.example"]] * 8
        assert (kept.ask(GET).status, kept.names) == (200, ["a.example"])


def test_a_broken_renewal_is_told_once_and_the_old_certificate_stays(
    secure: Secure, certificates: Path, ca: Authority
) -> None:
    balancer = secure()
    (certificates / "a.pem").write_bytes(b"nothing")
    line = balancer.balancer.wait_for(STAYS)
    assert (line["path"], line["level"]) == ("listeners[0].tls.certificate_file", "error")
    # One that dies has a successor with the old certificate.
    [worker] = balancer.balancer.workers
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: len(balancer.balancer.find("worker started")) == 2)
    assert names(balancer, ca) == ["a.example"]
    ca.issue("a.example", "new.example").write(certificates, "a")
    balancer.balancer.wait_for("certificates renewed")
    assert names(balancer, ca) == ["a.example", "new.example"]
    assert len(balancer.balancer.find(STAYS)) == 1


def test_a_reload_takes_up_certificates_at_once(secure: Secure, certificates: Path, ca: Authority) -> None:
    balancer = secure()
    ca.issue("a.example", "new.example").write(certificates, "a")
    assert balancer.balancer.reload(balancer.balancer.config.read_text())["event"] == "reloaded"
    assert names(balancer, ca) == ["a.example", "new.example"]


def test_a_reload_with_a_bad_certificate_changes_nothing(secure: Secure, certificates: Path, ca: Authority) -> None:
    balancer = secure()
    (certificates / "a.key").unlink()
    line = balancer.balancer.reload(balancer.balancer.config.read_text() + "\n[limits]\nheader_count = 1\n")
    assert (line["event"], line["path"]) == ("reload refused", "listeners[0].tls.key_file")
    assert names(balancer, ca) == ["a.example"]


def test_a_reload_may_change_how_tls_is_spoken(secure: Secure, ca: Authority) -> None:
    balancer = secure()
    with SecureClient(balancer.port, trusting(ca, newest="1.2")) as kept:
        text = balancer.balancer.config.read_text().replace("[listeners.tls]", '[listeners.tls]\nmin_version = "1.3"')
        assert balancer.balancer.reload(text)["event"] == "reloaded"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            SecureClient(balancer.port, trusting(ca, newest="1.2"))
        assert kept.ask(GET).status == 200


@pytest.mark.parametrize("newest", ["1.2", "1.3"])
def test_a_resumed_session_does_not_get_round_a_stricter_rule(secure: Secure, clients: Clients, newest: str) -> None:
    balancer = secure(workers=1)
    context = clients.context("none", newest=newest)
    with SecureClient(balancer.port, context) as kept:
        assert kept.ask(GET).status == 200
        strict = f'client_ca_file = "{clients.folder}/ca.pem"\nclient_certificates = "required"'
        text = balancer.balancer.config.read_text().replace("[listeners.tls]", f"[listeners.tls]\n{strict}")
        assert balancer.balancer.reload(text)["event"] == "reloaded"
        with (
            pytest.raises((ssl.SSLError, ConnectionError, ClosedEarlyError)),
            SecureClient(balancer.port, context, session=kept.tls.session) as resumed,
        ):
            resumed.ask(GET)
        with SecureClient(balancer.port, clients.context("good", newest=newest)) as client:
            assert client.ask(GET).status == 200
        assert kept.ask(GET).status == 200


def test_a_listener_does_not_begin_or_cease_to_speak_tls_while_running(secure: Secure, certificates: Path) -> None:
    balancer = secure()
    text = balancer.balancer.config.read_text()
    line = balancer.balancer.reload(text.replace("[listeners.tls]", "").replace(pair(certificates, "a"), ""))
    assert (line["event"], "listeners cannot change" in line["reason"]) == ("reload refused", True)


def test_renewed_authorities_are_asked_about_the_next_connection_to_a_target(
    secure: Secure, stage: Stage, certificates: Path, ca: Authority, stranger: Authority
) -> None:
    target = stage.target(tls=serving(ca.issue("127.0.0.1"), certificates))
    ca.write(certificates, "targets")
    health = '[pools.default.health]\ntype = "none"\n[pools.default.health.passive]\nenabled = false\n'
    balancer = secure([target], pool=f'{health}[pools.default.tls]\nca_file = "{certificates}/targets.pem"')
    assert fetch(balancer.plain).status == 200
    stranger.write(certificates, "targets")
    balancer.balancer.wait_for("certificates renewed")
    assert fetch(balancer.plain).status == 502

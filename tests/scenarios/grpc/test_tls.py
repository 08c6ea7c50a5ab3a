"""gRPC with TLS on both sides: ALPN chooses HTTP/2."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.scenarios.grpc.conftest import Before
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.grpc_peers import GrpcStage, unless_unavailable
from tests.scenarios.support.polling import eventually
from tests.support.certificates import Authority

LISTENER = '[[listeners]]\naddress = "127.0.0.1:0"\n[listeners.tls]\ncertificate_file = "www.pem"\nkey_file = "www.key"'
QUICK = 'interval = "50ms"\ndown_interval = "50ms"\nunhealthy_after = 1\ntimeout = "10s"\npassive.enabled = false'


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Whom everybody trusts; the target's certificate lies beside the targets."""
    made = Authority()
    made.issue("127.0.0.1").write(tmp_path, "target")
    return made


def secure(authority: Authority, *, trusted: Authority | None = None) -> Setting:
    """A TLS listener beside the plain one, targets verified, probes by gRPC."""
    pair = authority.issue("localhost")
    files = {
        "ca.pem": (trusted or authority).pem,
        "www.pem": pair.certificate,
        "www.key": pair.key,
    }
    pool = f'[pools.default.tls]\nca_file = "ca.pem"\n[pools.default.health]\ntype = "grpc"\n{QUICK}'
    return Setting(pool=pool, more=LISTENER, files=tuple((name, text.decode()) for name, text in files.items()))


def call(balancer: Balancer, authority: Authority, request: bytes) -> bytes:
    """One call to the listener with TLS."""
    port = int(str(balancer.find("listening")[1]["address"]).rpartition(":")[2])
    channel: Any
    with grpc.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(authority.pem)) as channel:
        answer: bytes = channel.unary_unary("/probe.Probe/Unary")(request, timeout=20)
        return answer


def test_calls_over_tls(grpc_stage: GrpcStage, before: Before, authority: Authority) -> None:
    balancer = before([grpc_stage.target(certificate="target")], secure(authority))
    assert call(balancer, authority, b"x" * 200_000) == b"x" * 200_000
    balancer.wait_idle()
    assert balancer.find("target down") == []


def test_a_probe_over_tls_sees_a_target_go_and_come_back(
    grpc_stage: GrpcStage, before: Before, authority: Authority
) -> None:
    target = grpc_stage.target(certificate="target")
    balancer = before([target], secure(authority))
    target.kill()
    balancer.wait_for("target down", target=target.name)
    target.start()
    balancer.wait_for("target up", target=target.name)
    assert eventually(lambda: unless_unavailable(lambda: call(balancer, authority, b"back"))) == b"back"


def test_a_probe_believes_no_certificate_that_calls_would_not(
    grpc_stage: GrpcStage, before: Before, authority: Authority
) -> None:
    target = grpc_stage.target(certificate="target")
    balancer = before([target], secure(authority, trusted=Authority("somebody else")))
    assert "certificate" in balancer.wait_for("target down", target=target.name)["reason"]

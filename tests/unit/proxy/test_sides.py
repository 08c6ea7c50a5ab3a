"""The seams between the modules of the data path."""

import pytest

from equipoise.proxy.sides import Connector, Downstream, Relay, Upstream
from equipoise.state.connections import Stack
from equipoise.state.snapshot import Target, no_tls
from tests.support.ledgers import request, target


def test_a_side_that_does_not_say_what_it_does_fails_loudly() -> None:
    """The base classes are interfaces: a method that a protocol forgets must not pass for one that does nothing."""
    with pytest.raises(AssertionError):
        Relay(request(), decodes=False).downstream_lost()
    with pytest.raises(AssertionError):
        Downstream().hold()
    with pytest.raises(AssertionError):
        Upstream(Stack()).cancel()
    with pytest.raises(AssertionError):
        Connector().connect(Target("web", target("a", 1), no_tls), Relay(request(), decodes=False))

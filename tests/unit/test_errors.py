"""What each kind of failure says of itself."""

import pytest

from equipoise.errors import (
    DOWNSTREAM,
    RETRY_ALWAYS,
    RETRY_IF_SAFE,
    RETRY_NEVER,
    SELF,
    UPSTREAM,
    ProxyError,
    client_failed,
    malformed,
    refused,
    upstream_failed,
)


def facts(error: ProxyError) -> tuple[str, str, int, int, str]:
    return error.kind, error.side, error.retry, error.status, error.detail


def test_a_malformed_message_is_the_clients_and_never_tried_again() -> None:
    assert facts(malformed("no")) == ("malformed", DOWNSTREAM, RETRY_NEVER, 400, "no")


def test_a_malformed_message_may_have_its_own_status() -> None:
    assert malformed("long", 431).status == 431


@pytest.mark.parametrize("retry", [RETRY_ALWAYS, RETRY_IF_SAFE, RETRY_NEVER])
def test_a_target_that_failed_says_whether_another_may_try(retry: int) -> None:
    assert facts(upstream_failed("reset", retry, "gone")) == ("reset", UPSTREAM, retry, 502, "gone")


def test_a_slow_target_is_504() -> None:
    assert upstream_failed("response_timeout", RETRY_IF_SAFE, "slow", 504).status == 504


def test_a_refusal_is_our_own() -> None:
    assert facts(refused("no_target", 503, "none")) == ("no_target", SELF, RETRY_NEVER, 503, "none")


def test_a_client_that_failed_is_not_tried_again() -> None:
    assert facts(client_failed("body_timeout", 408, "slow")) == ("body_timeout", DOWNSTREAM, RETRY_NEVER, 408, "slow")


def test_more_may_be_tried_the_less_was_sent() -> None:
    assert RETRY_ALWAYS > RETRY_IF_SAFE > RETRY_NEVER


def test_it_prints_as_what_happened() -> None:
    assert str(refused("no_target", 503, "None is up.")) == "('no_target', 'None is up.')"

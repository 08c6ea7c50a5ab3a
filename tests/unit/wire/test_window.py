"""Flow control: what may be sent and received, and when more is granted."""

import pytest

from equipoise.wire.http2_errors import FLOW_CONTROL_ERROR
from equipoise.wire.window import MAX_WINDOW, Window
from tests.support.frames import raised


def window(stream: int = 1, sendable: int = 100, size: int = 100) -> Window:
    return Window(stream, sendable, size)


# -- sending ---------------------------------------------------------------------------------------------------------


def test_what_is_sent_is_no_longer_sendable() -> None:
    each = window()
    each.send(60)
    each.send(40)
    each.send(0)
    assert each.sendable == 0


def test_sending_beyond_the_window_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        window().send(101)


def test_an_update_makes_more_sendable() -> None:
    each = window()
    each.send(100)
    each.grow(7)
    assert each.sendable == 7


def test_a_window_grows_to_the_largest() -> None:
    each = window()
    each.grow(MAX_WINDOW - 100)
    assert each.sendable == MAX_WINDOW


@pytest.mark.parametrize("stream", [0, 5])
def test_a_window_does_not_grow_beyond_the_largest(stream: int) -> None:
    each = window(stream)
    assert raised(lambda: each.grow(MAX_WINDOW - 99)) == (FLOW_CONTROL_ERROR, stream)
    assert each.sendable == 100


def test_a_smaller_setting_may_take_the_window_below_zero() -> None:
    each = window()
    each.send(80)
    each.shift(-100)
    assert each.sendable == -80
    each.send(0)
    each.grow(90)
    assert each.sendable == 10


def test_a_larger_setting_may_overflow_the_window() -> None:
    each = window(5, MAX_WINDOW, 100)
    assert raised(lambda: each.shift(1)) == (FLOW_CONTROL_ERROR, 0)


def test_settings_leave_the_connection_alone() -> None:
    with pytest.raises(AssertionError):
        window(0).shift(1)


# -- receiving -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [0, 5])
def test_more_than_was_granted_is_refused(stream: int) -> None:
    each = window(stream)
    each.receive(100)
    assert raised(lambda: each.receive(1)) == (FLOW_CONTROL_ERROR, stream)


def test_nothing_is_received_even_when_the_window_is_shut() -> None:
    each = window()
    each.receive(100)
    each.receive(0)
    assert each.held == 100


def test_half_of_the_window_is_granted_at_once() -> None:
    each = window()
    each.receive(100)
    assert [each.release(30), each.release(19), each.release(1), each.release(50)] == [0, 0, 50, 50]
    assert (each.receivable, each.held) == (100, 0)


def test_what_was_not_released_is_not_granted() -> None:
    each = window()
    each.receive(90)
    each.release(60)
    assert (each.receivable, each.held) == (70, 30)


def test_more_than_was_received_cannot_be_released() -> None:
    each = window()
    each.receive(10)
    with pytest.raises(AssertionError):
        each.release(11)


@pytest.mark.parametrize("size", [0, 1])
def test_a_window_of_next_to_nothing_grants_no_zero(size: int) -> None:
    each = window(size=size)
    assert each.release(0) == 0
    each.receive(size)
    assert each.release(size) == size


def test_a_larger_window_grants_the_difference_and_what_was_owed() -> None:
    each = window(0, size=100)
    each.receive(40)
    assert each.release(40) == 0
    assert each.enlarge(1000) == 940
    assert each.receivable == 1000


def test_an_enlargement_by_nothing_grants_nothing() -> None:
    assert window().enlarge(100) == 0

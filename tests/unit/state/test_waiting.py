"""Who waits, case by case."""

import pytest

from equipoise.state import waiting
from equipoise.state.waiting import Waiter, WaitingRoom


class Guest(Waiter):
    """Goes on when it is allowed to."""

    def __init__(self, said: list[str], name: str) -> None:
        super().__init__()
        self.said = said
        self.name = name
        self.free = True

    def try_again(self, now: int) -> bool:
        if self.free:
            self.said.append(f"{self.name} went on at {now}")
        return self.free

    def waited_in_vain(self) -> None:
        self.said.append(f"{self.name} was sent away")


# A compiled class takes no plain one below it unless it says so, and pays for that; this one does not. In the compiled
# mode tests/unit/proxy/test_exchange.py and the scenarios see the room at work.
only_interpreted = pytest.mark.skipif(not str(waiting.__file__).endswith(".py"), reason="Waiter is final when compiled")


class Hotel:
    """A room and its guests."""

    def __init__(self, limit: int, timeout: int) -> None:
        self.room = WaitingRoom(limit, timeout)
        self.said: list[str] = []

    def enter(self, name: str, now: int = 0, *, free: bool = True) -> Guest:
        guest = Guest(self.said, name)
        guest.free = free
        assert self.room.enter(guest, now)
        return guest


@only_interpreted
def test_all_go_on_in_the_order_in_which_they_came() -> None:
    hotel = Hotel(3, 10)
    for name in "abc":
        hotel.enter(name)
    hotel.room.wake(5)
    assert hotel.said == ["a went on at 5", "b went on at 5", "c went on at 5"]
    assert hotel.room.size == 0


@only_interpreted
def test_nobody_passes_the_first_one_that_cannot_go_on() -> None:
    hotel = Hotel(3, 10)
    hotel.enter("a")
    stuck = hotel.enter("b", free=False)
    hotel.enter("c")
    hotel.room.wake(5)
    assert (hotel.said, hotel.room.size) == (["a went on at 5"], 2)
    stuck.free = True
    hotel.room.wake(6)
    assert hotel.said[1:] == ["b went on at 6", "c went on at 6"]


@only_interpreted
@pytest.mark.parametrize("limit", [0, 2])
def test_a_full_room_lets_nobody_in(limit: int) -> None:
    hotel = Hotel(limit, 10)
    for number in range(limit):
        hotel.enter(str(number))
    assert not hotel.room.enter(Guest(hotel.said, "late"), 0)
    assert hotel.room.size == limit


@only_interpreted
def test_who_waited_for_too_long_is_sent_away_and_the_others_stay() -> None:
    hotel = Hotel(3, 10)
    hotel.enter("a", 0)
    hotel.enter("b", 5)
    hotel.room.expire(9)
    assert hotel.said == []
    hotel.room.expire(10)
    assert (hotel.said, hotel.room.size) == (["a was sent away"], 1)


@only_interpreted
def test_who_leaves_makes_room() -> None:
    hotel = Hotel(1, 10)
    hotel.room.leave(hotel.enter("a"))
    hotel.enter("b")
    hotel.room.wake(1)
    assert hotel.said == ["b went on at 1"]


def test_a_waiter_that_does_not_say_what_it_does_fails_loudly() -> None:
    with pytest.raises(AssertionError):
        Waiter().try_again(0)
    with pytest.raises(AssertionError):
        Waiter().waited_in_vain()

"""A shortage is told when it begins and when it is over, however long it lasts."""

from collections.abc import Mapping

from equipoise.runtime.shortage import CALM, Shortage


class Told:
    """A shortage, and what it said."""

    def __init__(self, counted: int = 0) -> None:
        self.said: list[tuple[str, str, dict[str, int]]] = []
        self.shortage = Shortage(self._say, 64, counted)

    def _say(self, level: str, event: str, fields: Mapping[str, int]) -> None:
        self.said.append((level, event, dict(fields)))

    def look(self, *looks: tuple[int, float]) -> list[tuple[str, str, dict[str, int]]]:
        for counted, now in looks:
            self.shortage.look(counted, now)
        return self.said


BEGUN = ("warning", "clients are turned away: too few file descriptors", {"open_files_limit": 64})


def test_as_long_as_nobody_is_turned_away_nothing_is_said() -> None:
    assert Told().look((0, 1.0), (0, 1000.0)) == []


def test_what_a_predecessor_counted_is_no_news() -> None:
    assert Told(7).look((7, 1.0)) == []


def test_the_first_one_is_told_and_the_next_are_not() -> None:
    assert Told().look((1, 1.0), (2, 1.1), (50, 1.2), (50, 1.2 + CALM / 2), (51, 1.2 + CALM)) == [BEGUN]


def test_its_end_is_told_once_with_how_many_it_were() -> None:
    told = Told(10).look((12, 1.0), (15, 2.0), (15, 2.0 + CALM), (15, 20.0))
    assert told == [BEGUN, ("info", "clients are taken again", {"turned_away": 5})]


def test_another_one_is_told_anew() -> None:
    told = Told().look((2, 1.0), (2, 10.0), (5, 20.0), (5, 30.0))
    assert told == [
        BEGUN,
        ("info", "clients are taken again", {"turned_away": 2}),
        BEGUN,
        ("info", "clients are taken again", {"turned_away": 3}),
    ]

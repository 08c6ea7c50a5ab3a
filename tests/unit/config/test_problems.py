import pytest

from equipoise.config.problems import ConfigError, Place, Problem, dotted


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ((), ""),
        (("listen",), "listen"),
        (("pools", "default", "targets", 1, "url"), "pools.default.targets[1].url"),
        (("pools", "api.v1", "a b"), 'pools."api.v1"."a b"'),
        (("", 0), '""[0]'),
    ],
)
def test_a_place_is_written_with_dots(place: Place, text: str) -> None:
    assert dotted(place) == text


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("a.b", "is bad", 3), "a.b (line 3): is bad"),
        (Problem("a.b", "is bad"), "a.b: is bad"),
        (Problem("", "is bad", 3), "file (line 3): is bad"),
        (Problem("", "is bad"), "is bad"),
    ],
)
def test_a_problem_says_what_is_known_of_its_place(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_the_error_carries_and_shows_every_problem() -> None:
    error = ConfigError([Problem("a", "is bad", 1), Problem("b", "is worse", 2)])
    assert [problem.path for problem in error.problems] == ["a", "b"]
    assert str(error) == "a (line 1): is bad\nb (line 2): is worse"

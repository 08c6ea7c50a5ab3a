"""The dialogue that the tests of the data path hold."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.dialogue import Dialogue


@pytest.fixture
def dialogue() -> Iterator[Dialogue]:
    """With a pool of three targets, which take turns; at its end nothing may be left."""
    talk = Dialogue()
    yield talk
    talk.close()


@pytest.fixture
def make_dialogue() -> Iterator[Callable[..., Dialogue]]:
    """Likewise, with a world of the test's own."""
    talks: list[Dialogue] = []

    def make(*pools: object, **settings: object) -> Dialogue:
        talks.append(Dialogue(*pools, **settings))  # type: ignore[arg-type]
        return talks[-1]

    yield make
    for talk in talks:
        talk.close()

"""Which entries a purge by path drops."""

import pytest

from equipoise.state.cache_store import Store
from tests.support.stores import Balancer, entry, key

PATHS = [b"/", b"/a", b"/a?x=1", b"/a?x=2", b"/a/b", b"/ab", b"/b?/a", b"*"]


def fill(balancer: Balancer) -> Store:
    store = balancer.worker()
    for path in PATHS:
        store.put(key(path), entry(path=path), 1)
    return store


def purge(balancer: Balancer, path: bytes, *, is_prefix: bool = False, cells: int = 64) -> int:
    work = balancer.supervisor.purge(path, is_prefix, 5)
    while not work.step(cells):
        pass
    return work.dropped


@pytest.mark.parametrize(
    ("path", "is_prefix", "gone"),
    [
        (b"/a", False, [b"/a", b"/a?x=1", b"/a?x=2"]),
        (b"/a?x=1", False, [b"/a?x=1"]),
        (b"/a", True, [b"/a", b"/a?x=1", b"/a?x=2", b"/a/b", b"/ab"]),
        (b"/a/", True, [b"/a/b"]),
        (b"/", True, [path for path in PATHS if path != b"*"]),
        (b"", True, PATHS),
        (b"/none", False, []),
        (b"/a?", False, []),
    ],
)
def test_a_path_with_any_query_or_just_that_one_or_all_that_begin_so(
    path: bytes, is_prefix: bool, gone: list[bytes]
) -> None:
    balancer = Balancer()
    store = fill(balancer)
    assert purge(balancer, path, is_prefix=is_prefix) == len(gone)
    assert [each for each in PATHS if store.get(key(each), 6) is None] == gone
    assert balancer.stats()["entries"] == len(PATHS) - len(gone)


def test_small_steps_get_there_too() -> None:
    balancer = Balancer(max_bytes=8 << 20)
    fill(balancer)
    assert purge(balancer, b"/a", cells=1_000) == 3


def test_a_purge_that_is_done_stays_done() -> None:
    balancer = Balancer()
    work = balancer.supervisor.purge(b"/", False, 5)
    assert work.step(1 << 20)
    assert work.step(1)


def test_what_is_begun_after_a_purge_is_stored_again() -> None:
    balancer = Balancer()
    store = fill(balancer)
    purge(balancer, b"/a")
    assert store.put(key(b"/a"), entry(path=b"/a"), 6)
    assert store.get(key(b"/a"), 7) is not None

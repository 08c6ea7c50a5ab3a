"""The state on a real disk."""

import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from equipoise.config.load import parse
from equipoise.config.overlay import Overlay, PoolOverlay, TargetChange
from equipoise.config.schema import MAX_SLOTS, Config, TargetConfig
from equipoise.runtime.startup import UnfitError
from equipoise.runtime.store import State, Store, StoreError, digest_of, resume

TEXT = 'listen = "127.0.0.1:0"\n[pools.p]\ntargets = ["http://10.0.0.1:1"]\n'
FILE = parse(TEXT, {})
OVERLAY = Overlay({"p": PoolOverlay(algorithm="random", added={"c": TargetConfig("http://10.0.0.3:1", "c")})})
Make = Callable[..., Store]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    stores: list[Store] = []

    def store(name: str = "state", *, writable: bool = True) -> Store:
        stores.append(Store(tmp_path / name, writable=writable))
        stores[-1].open()
        return stores[-1]

    yield store
    for each in stores:
        each.close()


def state(version: int, overlay: Overlay = OVERLAY) -> State:
    return State(version=version, digest="d", overlay=overlay)


def keep(store: Store, kept: State) -> None:
    store.prepare(kept)
    store.commit()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Keeping


def test_before_the_first_state_there_is_none(make: Make) -> None:
    assert make().read() is None


def test_what_was_committed_is_read_again(make: Make) -> None:
    store = make()
    keep(store, state(1, Overlay()))
    keep(store, state(2))
    assert store.read() == state(2)


def test_what_was_only_prepared_does_not_count(make: Make) -> None:
    store = make()
    keep(store, state(1))
    store.prepare(state(2))
    assert store.read() == state(1)
    store.drop()
    assert sorted(path.name for path in store.path.parent.iterdir()) == ["lock", "state.json"]


def test_what_a_process_left_half_written_disturbs_nobody(make: Make) -> None:
    store = make()
    keep(store, state(1))
    (store.path.parent / "state.json.new").write_text('{"format": 1, "vers')
    assert store.read() == state(1)
    keep(store, state(2))
    assert store.read() == state(2)


def test_files_and_folder_are_the_owners_alone(make: Make) -> None:
    store = make()
    keep(store, state(1))
    assert [mode(path) for path in (store.path, store.path.parent, store.path.parent / "lock")] == [0o600, 0o700, 0o600]


def test_people_can_read_it(make: Make) -> None:
    store = make()
    keep(store, state(3))
    found = json.loads(store.path.read_text())
    assert (found["format"], found["version"], found["overlay"]["pools"]["p"]["algorithm"]) == (1, 3, "random")
    assert store.path.read_text().count("\n") > 5


def test_a_full_disk_is_an_error_and_the_state_stays(make: Make) -> None:
    store = make()
    keep(store, state(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
    try:
        with pytest.raises(StoreError, match=r"the state cannot be kept in .*: File too large"):
            store.prepare(state(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert store.read() == state(1)


def test_a_folder_that_is_gone_is_an_error(make: Make, tmp_path: Path) -> None:
    store = make()
    store.prepare(state(1))
    (tmp_path / "state").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="No such file or directory"):
        store.commit()


def test_one_that_may_not_write_leaves_no_trace(make: Make, tmp_path: Path) -> None:
    store = make(writable=False)
    keep(store, state(1))
    store.drop()
    assert store.read() is None
    assert list(tmp_path.iterdir()) == []


def test_one_that_may_not_write_reads(make: Make) -> None:
    keep(make(), state(4))
    assert make(writable=False).read() == state(4)


# Damage


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is damaged"),
        (b"{", "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b"[1]", "is damaged"),
        (b'{"format": 1}', "is damaged: Object missing required field `version`"),
        (b'{"format": 1, "version": "x", "digest": "d"}', "is damaged"),
        (b'{"format": 1, "version": 1, "digest": "d", "more": 1}', "is damaged: Object contains unknown field `more`"),
        (b'{"format": 1, "version": 1, "digest": "d", "overlay": {"pools": {"p": {"x": 1}}}}', "is damaged"),
        (b'{"format": 2, "version": 1, "new": true}', "was written by another version of Equipoise"),
        (b"[" * 100_000, "is damaged"),
    ],
)
def test_a_state_that_cannot_be_understood_is_refused_by_name(make: Make, data: bytes, words: str) -> None:
    store = make()
    store.path.write_bytes(data)
    with pytest.raises(UnfitError) as caught:
        store.read()
    assert f"the state file {store.path} {words}" in str(caught.value)
    assert "move it away" in str(caught.value)


def test_a_state_that_is_no_file_is_refused(make: Make) -> None:
    store = make()
    store.path.mkdir()
    with pytest.raises(UnfitError, match="cannot be read: Is a directory"):
        store.read()


# The lock


def test_two_balancers_do_not_share_a_folder(make: Make) -> None:
    make()
    with pytest.raises(UnfitError, match=r"another balancer uses the state directory .*; end it, or give"):
        make()


def test_two_folders_are_two_locks(make: Make) -> None:
    make("one")
    make("two")


def test_the_lock_ends_with_its_holder(make: Make) -> None:
    make().close()
    make()


def test_the_lock_of_a_killed_process_is_free(make: Make, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from equipoise.runtime.store import Store;"
        "s = Store(pathlib.Path(sys.argv[1]), writable=True); s.open(); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "state")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UnfitError):
            make()
        holder.kill()
    make()


def test_a_process_started_meanwhile_does_not_hold_the_lock(make: Make) -> None:
    store = make()
    command = [sys.executable, "-c", "print('up', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False, text=True) as child:
        # Only a process that has begun has closed what it must not inherit: exec(2) wakes the parent before it does so.
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        store.close()
        make()
        child.kill()


def test_a_reader_takes_no_lock(make: Make) -> None:
    make()
    make(writable=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(UnfitError, match="cannot be used: Permission denied; set state_dir"):
        make("closed/state")


def test_a_folder_that_is_a_file_is_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(UnfitError, match=r"the state directory .* cannot be used: File exists"):
        make()


# Resuming


def test_the_very_first_start_is_version_1(make: Make) -> None:
    assert resume(make(), FILE) == (FILE, State(version=1, digest=digest_of(FILE)))


def test_a_restart_keeps_version_and_changes(make: Make) -> None:
    store = make()
    config, _ = resume_with(store, FILE, 7, OVERLAY)
    kept = State(version=7, digest=digest_of(config), overlay=OVERLAY)
    keep(store, kept)
    assert resume(store, FILE) == (config, kept)
    assert config.pools["p"].algorithm == "random"


def test_a_file_that_changed_meanwhile_raises_the_version(make: Make) -> None:
    store = make()
    keep(store, State(version=7, digest=digest_of(FILE)))
    changed = parse(TEXT.replace(":1", ":2"), {})
    assert resume(store, changed)[1].version == 8


def test_what_a_changed_file_says_as_well_is_no_change_any_more(make: Make) -> None:
    store = make()
    config, _ = resume_with(store, FILE, 7, Overlay({"p": PoolOverlay(algorithm="random")}))
    keep(store, State(version=7, digest=digest_of(config), overlay=Overlay({"p": PoolOverlay(algorithm="random")})))
    file = parse(f'{TEXT}algorithm = "random"\n', {})
    assert resume(store, file) == (file, State(version=7, digest=digest_of(file)))


MANY = {name: TargetConfig("http://10.0.0.9:1", name) for name in map(str, range(MAX_SLOTS))}


@pytest.mark.parametrize(
    ("over", "words"),
    [
        (PoolOverlay(algorithm="best"), 'pools.p.algorithm: "best" must be one of'),
        (PoolOverlay(algorithm="python:gone:Class"), "pools.p.algorithm: .* cannot be imported"),
        (PoolOverlay(changed={"10.0.0.1:1": TargetChange(weight=0)}), r"pools\.p\.targets\[0\]\.weight"),
        (PoolOverlay(added={"c": TargetConfig("ftp://a", "c")}), 'has the unknown scheme "ftp"'),
        (PoolOverlay(added=MANY), f"must be at most {MAX_SLOTS} together"),
    ],
    ids=["algorithm", "module", "weight", "scheme", "too many"],
)
def test_changes_that_cannot_be_taken_up_any_more_are_refused_by_name(
    make: Make, over: PoolOverlay, words: str
) -> None:
    store = make()
    keep(store, state(2, Overlay({"p": over})))
    with pytest.raises(UnfitError, match=f"state.json holds changes that the configuration cannot take: .*{words}"):
        resume(store, FILE)


def test_the_digest_tells_configurations_apart_and_forgets_the_order_of_pools() -> None:
    pools = '[pools.a]\ntargets = []\n[pools.b]\ntargets = []\n[[routes]]\npool = "a"\n'
    swapped = '[pools.b]\ntargets = []\n[pools.a]\ntargets = []\n[[routes]]\npool = "a"\n'
    one, same = (parse(f'listen = "a:1"\n{text}', {}) for text in (pools, swapped))
    assert digest_of(one) == digest_of(same)
    assert digest_of(one) != digest_of(FILE)


def resume_with(store: Store, file: Config, version: int, overlay: Overlay) -> tuple[Config, State]:
    keep(store, State(version=version, digest="", overlay=overlay))
    return resume(store, file)


# The lock, handed down


def test_a_lock_that_is_handed_down_is_held_by_both_and_by_whoever_is_left(make: Make, tmp_path: Path) -> None:
    before, after = make(), Store(tmp_path / "state", writable=True)
    assert before.lock is not None
    after.open(os.dup(before.lock))
    before.close()
    with pytest.raises(UnfitError, match="another balancer"):
        make()
    after.close()
    make()


def test_a_lock_of_another_directory_is_let_go(make: Make, tmp_path: Path) -> None:
    before, after = make(), Store(tmp_path / "other", writable=True)
    assert before.lock is not None
    after.open(os.dup(before.lock))
    assert after.lock is not None
    assert not os.path.samestat(os.fstat(after.lock), os.fstat(before.lock))
    before.close()
    make()
    after.close()


def test_one_that_writes_nothing_lets_the_lock_go(make: Make, tmp_path: Path) -> None:
    before, after = make(), Store(tmp_path / "state", writable=False)
    assert before.lock is not None
    after.open(os.dup(before.lock))
    before.close()
    make()

"""What every test runs under: one known mode, and nothing left behind.

Owns: the choice and the announcement of the mode (compiled or interpreted), and the guards against leaks.
Refuses to know: what any test is about.

EQUIPOISE_EXPECT=compiled|interpreted makes the whole run fail when the other mode was imported; the Makefile always
sets it.
"""

import gc
import os
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

import equipoise.errors
from tests.architecture.tree import SOFT_LINES, modules

TESTS = Path(__file__).parent
MODE = "interpreted" if str(equipoise.errors.__file__).endswith(".py") else "compiled"

# No deadline an example: machines are shared. In CI the examples are the same each time; elsewhere they are new ones.
settings.register_profile("house", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.load_profile("house")

# Files whose tests wait long. They go first, in this order: one of them that began last would keep the others waiting.
FIRST = (
    "unit/demo/test_run.py",
    "unit/demo/test_elsewhere.py",
    "unit/test_build.py",
    "unit/library/test_balancer.py",
    "unit/runtime/test_supervisor.py",
    "unit/state/test_cache_shard.py",
    "property/test_fuzz.py",
    "scenarios/dashboard/test_dashboard.py",
    "scenarios/http2/test_floods.py",
    "scenarios/shipping/test_hosts.py",
    "scenarios/http2/test_streams.py",
    "scenarios/docs/test_commands.py",
    "scenarios/http2/test_flow.py",
    "scenarios/cache/test_control.py",
    "scenarios/tls/test_renewal.py",
    "scenarios/grpc/test_demo.py",
    "scenarios/cache/test_memory.py",
)

# How long what a test started may take to end after the test, before it counts as left behind.
GRACE_S = 5.0


def pytest_configure() -> None:
    expected = os.environ.get("EQUIPOISE_EXPECT")
    if expected not in {None, "compiled", "interpreted"}:
        pytest.exit(f"EQUIPOISE_EXPECT must be compiled or interpreted, not {expected!r}", returncode=3)
    if expected not in {None, MODE}:
        pytest.exit(
            f"EQUIPOISE_EXPECT={expected}, but the imported package is {MODE}: {equipoise.errors.__file__}",
            returncode=3,
        )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Ten thousand tests stay to the end: the collector looks at them neither as they come nor in any later search."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_report_header() -> list[str]:
    long = [f"{module.path.name} {module.lines}" for module in modules() if module.lines > SOFT_LINES]
    return [
        f"equipoise: {MODE.upper()}, from {Path(str(equipoise.errors.__file__)).parent}",
        f"modules over the soft budget of {SOFT_LINES} lines: {', '.join(long) or 'none'}",
    ]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {TESTS / name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    for item in items:
        for marker in item.iter_markers("needs"):
            missing = [name for name in marker.args if shutil.which(name, path=search_path()) is None]
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"not installed: {', '.join(missing)}"))
        if MODE == "interpreted" and item.get_closest_marker("compiled"):
            item.add_marker(pytest.mark.skip(reason="about compiled modules; this run is interpreted"))
        if MODE == "interpreted" and item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="a load for the compiled mode; this run is interpreted"))


def search_path() -> str:
    """Where programs are looked for: Debian keeps daemons where an ordinary user's PATH does not reach."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])


@pytest.fixture(scope="session")
def compiled() -> bool:
    """Whether this run tests the compiled modules."""
    return MODE == "compiled"


@pytest.fixture(autouse=True)
def leaves_no_thread() -> Iterator[None]:
    """Fails a test after which a thread that it started still runs."""
    before = set(threading.enumerate())
    yield
    # A worker of pytest-xdist may start its own threads at any time; they are not a test's.
    wait_until_gone("threads", lambda: {t.name for t in threading.enumerate() if t not in before and not foreign(t)})


@pytest.fixture(scope="session")
def outliving() -> set[int]:
    """The ids of processes that are started within a test and ended by a fixture of a wider scope."""
    return set()


@pytest.fixture(autouse=True)
def leaves_no_child(outliving: set[int]) -> Iterator[None]:
    """Fails a test after which a process that it started still runs, or ended and was not waited for."""
    before = children()
    yield
    wait_until_gone("child processes", lambda: {describe(pid) for pid in children() - before - outliving})


def foreign(thread: threading.Thread) -> bool:
    return thread.name.startswith(("execnet", "pytest_timeout", "Dummy-"))


def wait_until_gone(what: str, left: Callable[[], set[str]]) -> None:
    deadline = time.monotonic() + GRACE_S
    while remaining := left():
        if time.monotonic() > deadline:
            pytest.fail(f"the test left {what} behind: {', '.join(sorted(remaining))}", pytrace=False)
        time.sleep(0.01)


def children() -> set[int]:
    """The ids of this process's own children, whichever thread started them; none where the kernel has no such list."""
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # a thread that ended while we looked
            found.update(map(int, task.read_bytes().split()))
    return found


def describe(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        words = ""
    return f"{pid} ({words or 'ended, never waited for'})"

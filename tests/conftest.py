"""What every test runs under: one known mode, and nothing left behind.

Owns: the choice and the announcement of the mode (compiled or interpreted), and the guards against leaks.
Refuses to know: what any test is about.

EQUIPOISE_EXPECT=compiled|interpreted makes the whole run fail when the other mode was imported; the Makefile always
sets it.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import equipoise.errors
from tests.architecture.tree import SOFT_LINES, modules

MODE = "interpreted" if str(equipoise.errors.__file__).endswith(".py") else "compiled"

# No deadline an example: machines are shared. In CI the examples are the same each time; elsewhere they are new ones.
settings.register_profile("house", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.load_profile("house")

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


def pytest_report_header() -> list[str]:
    long = [f"{module.path.name} {module.lines}" for module in modules() if module.lines > SOFT_LINES]
    return [
        f"equipoise: {MODE.upper()}, from {Path(str(equipoise.errors.__file__)).parent}",
        f"modules over the soft budget of {SOFT_LINES} lines: {', '.join(long) or 'none'}",
    ]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
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


@pytest.fixture(autouse=True)
def leaves_no_child() -> Iterator[None]:
    """Fails a test after which a process that it started still runs, or ended and was not waited for."""
    before = children()
    yield
    wait_until_gone("child processes", lambda: {describe(pid) for pid in children() - before})


def foreign(thread: threading.Thread) -> bool:
    return thread.name.startswith(("execnet", "pytest_timeout", "Dummy-"))


def wait_until_gone(what: str, left: Callable[[], set[str]]) -> None:
    deadline = time.monotonic() + GRACE_S
    while remaining := left():
        if time.monotonic() > deadline:
            pytest.fail(f"the test left {what} behind: {', '.join(sorted(remaining))}", pytrace=False)
        time.sleep(0.01)


def children() -> set[int]:
    """The ids of this process's own children; none where there is no /proc."""
    own = os.getpid()
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        if int(fields[1]) == own:
            found.add(int(entry.parent.name))
    return found


def describe(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        words = ""
    return f"{pid} ({words or 'ended, never waited for'})"

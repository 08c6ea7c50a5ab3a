import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks import process
from benchmarks.process import CpuTime, Process, ProcessFailed

STAT = "4242 (odd) name (x)) S 17 4242 4242 0 -1 4194560 900 80 0 0 250 150 50 25 20 0 3 0 987654 1000000 500"


def test_stat_counts_fields_from_the_last_parenthesis() -> None:
    stat = process.parse_stat(STAT)

    assert stat.parent == 17
    assert stat.started == 987654


def test_stat_adds_the_times_of_children_already_waited_for() -> None:
    ticks = process.TICKS_PER_SECOND

    assert process.parse_stat(STAT).cpu == CpuTime(300 / ticks, 175 / ticks)


def test_rss_is_bytes() -> None:
    assert process.parse_rss("Name:\tx\nVmPeak:\t  900 kB\nVmRSS:\t    64 kB\nThreads:\t1\n") == 65536


def test_rss_of_a_process_without_memory_is_zero() -> None:
    assert process.parse_rss("Name:\tx\nState:\tZ (zombie)\n") == 0


def test_busy_counts_all_but_idle_and_waiting() -> None:
    ticks = process.TICKS_PER_SECOND

    assert process.parse_busy("cpu  1 2 4 1000 2000 8 16 32 64 0\ncpu0 9 9 9 9\n") == 63 / ticks


def test_descendants_are_found_over_generations_and_others_left_out() -> None:
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 20: 1, 21: 20}

    assert sorted(process.descendants(10, parents)) == [10, 11, 12]


def test_cpu_time_of_a_tree_holds_that_of_its_children() -> None:
    spin = "import time; e = time.process_time() + 0.3\nwhile time.process_time() < e: pass\n"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {spin!r}]); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE) as started:
        end = time.monotonic() + 30
        while process.tree_cpu(started.pid).total < 0.3 and time.monotonic() < end:
            time.sleep(0.02)
        spent = process.tree_cpu(started.pid)
        assert started.stdin is not None
        started.stdin.close()

    assert spent.total >= 0.3


def test_stopping_kills_a_child_that_does_not_listen(tmp_path: Path) -> None:
    child = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
    parent = f"import signal, subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]); signal.pause()"
    with Process("parent", [sys.executable, "-c", parent], tmp_path) as started:
        end = time.monotonic() + 30
        while "ready" not in started.stdout_path.read_text() and time.monotonic() < end:
            time.sleep(0.01)
        below = process.tree(started.pid)

    assert len(below) == 2
    # An orphan that was killed may be a zombie until init has waited for it; it no longer has memory.
    end = time.monotonic() + 30
    while any(resident(pid) for pid in below) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(resident(pid) for pid in below)


def resident(pid: int) -> int:
    try:
        return process.parse_rss(Path(f"/proc/{pid}/status").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return 0


def test_a_process_that_ends_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    words = "import sys; sys.stderr.write('no such directive'); sys.exit(3)"

    with Process("peer", [sys.executable, "-c", words], tmp_path) as started, pytest.raises(ProcessFailed) as failed:
        started.wait_listening(process.free_ports(1)[0])

    assert "peer ended with 3: no such directive" in str(failed.value)


def test_a_process_that_ends_by_itself_is_waited_for(tmp_path: Path) -> None:
    with Process("peer", [sys.executable, "-c", "import sys; sys.exit(3)"], tmp_path) as started:
        assert started.wait(30) == 3


def test_free_ports_are_all_different() -> None:
    assert len(set(process.free_ports(200))) == 200

"""Batches of log lines to a file, from a thread of their own.

Owns: the file, the bounded queue before it, and what happens when it cannot be written.
Refuses to know: what the lines say.
"""

import fcntl
import os
import stat
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

# Bytes that may wait for the disk unless told otherwise; at 400 bytes a line these are some 40,000 lines.
QUEUE: Final = 16 * 1024 * 1024
# Bytes that are worth waking the writing thread for before the next tick.
ENOUGH: Final = 256 * 1024
# Batches that one call writes; the system's own limit (IOV_MAX) is 1,024.
AT_ONCE: Final = 512
# Seconds between two attempts while the file cannot be written.
RETRY_SECONDS: Final = 0.5


class BatchWriter:
    """Writes in the background; `put` never blocks and never fails."""

    def __init__(self, path: str, on_trouble: Callable[[str], None], most: int = QUEUE) -> None:
        """Opens the file and starts the thread.

        Args:
            path: of the file, appended to; `-` is standard output.
            on_trouble: is told, from the writing thread, when lines are lost and when writing works again.
            most: bytes that may wait.

        Raises:
            OSError: the file cannot be opened.
        """
        self.path = path
        self.on_trouble = on_trouble
        self.most = most
        self.written = 0
        self.dropped = 0
        # Guarded by `wake`: the queue, its size in bytes, and the two wishes.
        self.wake = threading.Condition()
        self.queue: deque[tuple[bytes, int]] = deque()
        self.waiting = 0
        self.reopening = False
        self.closing = False
        # The thread's own.
        self.descriptor = self._open()
        self.shared = not stat.S_ISREG(os.fstat(self.descriptor).st_mode)
        self.failing = False
        # The file ends in the beginning of a line whose rest was dropped.
        self.torn = False
        self.thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self.thread.start()

    def put(self, lines: bytes, count: int, *, soon: bool = True) -> None:
        """Queues lines; when the queue is full they are dropped and counted.

        Args:
            lines: whole lines.
            count: how many.
            soon: write them now; otherwise with the next call of `hurry`, or when there are many.
        """
        with self.wake:
            if self.waiting + len(lines) > self.most:
                self.dropped += count
                return
            self.queue.append((lines, count))
            self.waiting += len(lines)
            if soon or self.waiting >= ENOUGH:
                self.wake.notify()

    def hurry(self) -> None:
        """Has written what is queued."""
        with self.wake:
            if self.queue:
                self.wake.notify()

    def reopen(self) -> None:
        """Opens the path again before the next write: the file was renamed."""
        with self.wake:
            self.reopening = True
            self.wake.notify()

    def close(self) -> None:
        """Writes what is queued, with one attempt and 5 seconds at most, and ends the thread."""
        with self.wake:
            self.closing = True
            self.wake.notify()
        self.thread.join(5.0)

    def _open(self) -> int:
        if self.path == "-":
            return 1
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _run(self) -> None:
        while True:
            with self.wake:
                while not self.queue and not self.reopening and not self.closing:
                    self.wake.wait()
                reopening, self.reopening = self.reopening, False
                closing = self.closing
                entries = list(self.queue)
                self.queue.clear()
                self.waiting = 0
            if reopening:
                self._reopen()
            self._write_all(entries)
            if closing and not entries:
                break
        if self.path != "-" and self.descriptor >= 0:
            os.close(self.descriptor)

    def _reopen(self) -> None:
        try:
            fresh = self._open()
        except OSError as error:
            self._trouble(f"cannot reopen {self.path}: {error.strerror}; going on in the old file")
            return
        if self.path != "-":
            old, self.descriptor = self.descriptor, fresh
            self.torn = False
            os.close(old)

    def _write_all(self, entries: list[tuple[bytes, int]]) -> None:
        """Writes batches, all with one call where the file takes them: each call costs two handovers of the GIL."""
        for start in range(0, len(entries), AT_ONCE):
            some = entries[start : start + AT_ONCE]
            done = 0
            if not self.shared and not self.torn:
                # What was wrong is found again, and told, when the first batch is written alone.
                with suppress(OSError):
                    done = os.writev(self.descriptor, [lines for lines, _ in some])
            for lines, count in some:
                self._write(lines, count, min(done, len(lines)))
                done -= min(done, len(lines))

    def _write(self, lines: bytes, count: int, done: int) -> None:
        """Writes a batch, of which `done` bytes are written, to its end.

        On an error it is tried again until the queue behind it is full or the log closes.
        """
        data = b"\n" + lines if self.torn else lines
        view = memoryview(data)[done:]
        while view:
            try:
                view = view[self._write_some(view) :]
            except OSError as error:
                if not self._wait_for_disk(error):
                    self.dropped += count
                    done = len(data) - len(view)
                    if done:
                        self.torn = data[done - 1] != 0x0A
                    return
        self.torn = False
        self.written += count
        if self.failing:
            self.failing = False
            self.on_trouble(f"access log {self.path}: writing works again; {self.dropped} lines were dropped so far")

    def _write_some(self, view: memoryview) -> int:
        """One write; into a pipe or a socket a whole batch, or the lines of two workers would end up inside each other.

        A regular file needs no lock: appending to it is atomic.
        """
        if not self.shared:
            return os.write(self.descriptor, view)
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX)
        done = 0
        try:
            while done < len(view):
                done += os.write(self.descriptor, view[done:])
        except OSError:
            if done == 0:
                raise
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN)
        return done

    def _wait_for_disk(self, error: OSError) -> bool:
        """Says once that writing fails, then waits; false when this batch is to be given up."""
        if not self.failing:
            self.failing = True
            self._trouble(f"cannot write: {error.strerror}; lines are kept up to {self.most >> 10} KiB, then dropped")
        with self.wake:
            if self.closing or self.waiting > self.most // 2:
                return False
            self.wake.wait(RETRY_SECONDS)
            return not self.closing

    def _trouble(self, what: str) -> None:
        self.on_trouble(f"access log {self.path}: {what}; {self.dropped} lines dropped so far")

"""A client in a process of its own that asks all the time: what others notice of what is done to the balancer.

Owns: that process, and how long each of its requests took.
Refuses to know: what is done meanwhile.

It runs as `python -m tests.scenarios.support.bystander PORT PATH` until its standard input ends, and then writes a pair
of numbers for each request: when it began (the monotonic clock, which all processes share) and how long it took.
"""

import select
import socket
import subprocess
import sys
import time
from array import array
from types import TracebackType
from typing import NamedTuple, Self

from tests.scenarios.support.messages import Buffer, ClosedEarlyError, Message, read_answer
from tests.scenarios.support.polling import PATIENCE

# How long an answer may take before the bystander counts as harmed.
MOST_S = 5.0
# Between two requests; so short that any second has hundreds.
PAUSE_S = 0.001


class Sample(NamedTuple):
    """One request, in seconds of the monotonic clock."""

    began: float
    took: float


class Bystander:
    """The process, seen from the test."""

    def __init__(self, port: int, path: str = "/") -> None:
        """Not begun; asks for `path`."""
        self.samples: list[Sample] = []
        self._command = [sys.executable, "-m", "tests.scenarios.support.bystander", str(port), path]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        # It says so when it has been answered once.
        assert self._process.stdout.read(1) == b"."
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        said, _ = self._process.communicate(timeout=PATIENCE)
        numbers = array("d", said)
        self.samples = [Sample(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]
        if kind is None:
            assert self._process.returncode == 0, "the bystander was not served"

    def during(self, windows: list[tuple[float, float]]) -> list[float]:
        """What its requests took, in order, of those that were on their way in one of the windows."""
        return sorted(
            sample.took
            for sample in self.samples
            if any(sample.began < end and sample.began + sample.took > begin for begin, end in windows)
        )


def percentile(ordered: list[float], share: float) -> float:
    """The value below which a share of them is; they are in order."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def answer_from(sock: socket.socket, buffer: Buffer) -> Message:
    """Reads one answer."""
    reading = read_answer(buffer, "GET")
    while True:
        try:
            next(reading)
        except StopIteration as done:
            message: Message = done.value
            return message
        buffer.feed(sock.recv(65_536))


def main(port: int, path: str) -> int:
    """Asks until there is no more input; 1 when it was not served."""
    numbers = array("d")
    buffer = Buffer()
    request = f"GET {path} HTTP/1.1\r\nHost: example.org\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), MOST_S) as sock:
        while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
            began = time.monotonic()
            sock.sendall(request)
            if answer_from(sock, buffer).status != 200:
                return 1
            numbers.extend((began, time.monotonic() - began))
            if len(numbers) == 2:
                sys.stdout.buffer.write(b".")
                sys.stdout.buffer.flush()
    sys.stdout.buffer.write(numbers.tobytes())
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(int(sys.argv[1]), sys.argv[2]))
    except (OSError, ClosedEarlyError) as error:
        sys.exit(str(error))

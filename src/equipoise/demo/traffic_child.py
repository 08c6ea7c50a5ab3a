"""The traffic as a process of the demo: started, its record read while it grows, ended.

Owns: its command line, the numbers of the run so far.
Refuses to know: targets, the balancer, the timeline.
"""

from time import monotonic
from typing import Final

from equipoise.demo.lines import Tail
from equipoise.demo.processes import Child, Children, DemoError, wait_until
from equipoise.demo.settings import POST_SHARE, DemoSettings

START_TIMEOUT: Final = 30.0
FINISH_TIMEOUT: Final = 30.0
# Buckets of 100 ms that the rate is a mean of.
RATE_BUCKETS: Final = 10


class TrafficChild:
    """The traffic's process and what its record says so far.

    Attributes:
        answered: requests that got their right answer.
        failed: requests that did not.
        open_requests: requests that wait for an answer.
        rate: requests answered in the last second.
    """

    def __init__(self, settings: DemoSettings, children: Children) -> None:
        # For the run.
        self._settings = settings
        self._children = children
        self._record = Tail(settings.file("traffic.record"))
        self._child: Child | None = None
        self._started = 0.0
        # While it grows.
        self.answered = 0
        self.failed = 0
        self.open_requests = 0
        self.rate = 0.0
        self._rates: list[int] = []

    @property
    def elapsed(self) -> float:
        """Seconds since it started."""
        return monotonic() - self._started

    @property
    def says(self) -> str:
        """How much it is, for people."""
        settings = self._settings
        return f"{settings.rate:g} requests a second" if settings.rate else f"{settings.concurrency} requests open"

    def start(self, url: str) -> None:
        """Starts it; returns when it has begun.

        Raises:
            DemoError: it does not start.
        """
        settings = self._settings
        # It is told when to stop by a signal; its own limit only ends it when this process is gone.
        arguments = [
            *("-m", "equipoise.demo.traffic", "--url", url, "--record", str(settings.file("traffic.record"))),
            *("--concurrency", str(settings.concurrency), "--rate", str(settings.rate)),
            *("--duration", str(settings.duration + 60), "--post-share", str(POST_SHARE), "--seed", str(settings.seed)),
            *(["--grpc"] if settings.grpc else []),
        ]
        out = settings.file("traffic.log")
        child = self._child = self._children.start("the traffic", arguments, out, settings.file("traffic.err"))
        with Tail(out) as log:

            def ready() -> bool:
                child.check()
                return any(line.get("event") == "started" for line in log.read())

            wait_until(ready, START_TIMEOUT, "the start of the traffic")
        self._started = monotonic()

    def read(self) -> None:
        """Takes in what was recorded since the last call.

        Raises:
            DemoError: it ended by itself.
        """
        if self._child is not None:
            self._child.check()
        self._read()

    def finish(self) -> None:
        """Lets requests in flight end, and the process with them.

        Raises:
            DemoError: it failed.
        """
        assert self._child is not None
        code = self._child.end(FINISH_TIMEOUT)
        self._read()
        if code != 0:
            raise DemoError(f"the traffic ended with {code}")

    def close(self) -> None:
        """Lets go of its record."""
        self._record.close()

    def _read(self) -> None:
        for line in self._record.read():
            bucket = line.get("bucket")
            if bucket is None:
                continue
            answered = sum(bucket["answered"].values())
            self.answered += answered
            self.failed += sum(bucket["failed"].values())
            self.open_requests = bucket["in_flight"]
            self._rates = [*self._rates[1 - RATE_BUCKETS :], answered]
            self.rate = sum(self._rates) * 10 / len(self._rates)

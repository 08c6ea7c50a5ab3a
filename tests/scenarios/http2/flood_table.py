"""What each flood costs, and what another client notices of it: `python -m tests.scenarios.http2.flood_table`.

Owns: the floods one by one, their measuring, and the table of the threat model.
Refuses to know: how much is too much; `test_floods` and `test_bystander` say that.

One worker carries both the flood and the other client, which asks over HTTP/1.1 all the time, for another pool. What it
notices is measured over a stretch of time without a flood, and over one in which a flood comes.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.scenarios.http2.test_floods import FAST, RESETS, SIMPLE, Streams, assert_calmed, flood
from tests.scenarios.support.balancer import COMPILED, Balancer, Setting
from tests.scenarios.support.bystander import Bystander, percentile
from tests.scenarios.support.http2_client import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    Http2Client,
    frame,
    head,
)
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.real_target import RealTarget

MOST_FRAMES = 400_000
STRETCH_S = 0.5
ROUNDS = 2
MIB = 1024 * 1024


class Row(NamedTuple):
    """One kind of flood; the worst of all rounds, but for the percentiles, which are of all together."""

    name: str
    frames: int
    cpu_s: float
    grown: int
    quiet_p99_s: float
    p99_s: float
    longest_s: float


def resets(name: str) -> Callable[[Http2Client], int]:
    """Requests that come to nothing."""
    end, frames = RESETS[name]
    return lambda client: flood(client, Streams(client, *frames, end=end), MOST_FRAMES)


def simple(data: bytes) -> Callable[[Http2Client], int]:
    """One frame again and again, on a connection that was in use."""

    def run(client: Http2Client) -> int:
        client.ask(head("GET", "/flood"))
        return flood(client, lambda: data, MOST_FRAMES)

    return run


def endless_block(client: Http2Client) -> int:
    """CVE-2024-27316 and its kin."""
    stream = client.open()
    client.send_frame(HEADERS, stream, client.block(head()))
    piece = frame(CONTINUATION, stream, client.block([(b"x-%d" % n, b"y" * 100) for n in range(100)]))
    return flood(client, lambda: piece, MOST_FRAMES)


def empty_block(client: Http2Client) -> int:
    """A block that never grows and never ends."""
    stream = client.open()
    client.send_frame(HEADERS, stream)
    return flood(client, lambda: frame(CONTINUATION, stream), MOST_FRAMES)


def empty_data(client: Http2Client) -> int:
    """CVE-2019-9518."""
    stream = client.request(head("POST", "/flood"), end=False)
    return flood(client, lambda: frame(DATA, stream), MOST_FRAMES)


def empty_heads(client: Http2Client) -> int:
    """Requests without a field."""
    return flood(client, lambda: frame(HEADERS, client.open(), b"", END_HEADERS | END_STREAM), MOST_FRAMES)


def data_of_the_past(client: Http2Client) -> int:
    """DATA on a stream that is gone."""
    stream = client.request(head("POST", "/flood"), end=False)
    client.reset(stream)
    return flood(client, lambda: frame(DATA, stream, b"x"), MOST_FRAMES)


FLOODS: dict[str, Callable[[Http2Client], int]] = {
    **{name: resets(name) for name in RESETS},
    "header blocks without end": endless_block,
    "header blocks of empty frames": empty_block,
    **{name: simple(data) for name, data in (SIMPLE | FAST).items()},
    "DATA without a byte": empty_data,
    "HEADERS without a byte": empty_heads,
    "DATA on streams that are gone": data_of_the_past,
}


@contextmanager
def stage(folder: Path) -> Iterator[Balancer]:
    """One worker before two pools: one for the floods, and one that only the other client asks."""
    with ExitStack() as running:
        ours = running.enter_context(RealTarget(folder, {"delay": 20}))
        theirs = running.enter_context(RealTarget(folder, {"delay": 0}))
        routes = (
            f'[pools.quiet]\ntargets = ["{theirs.url}"]\n[[routes]]\npath = "/other"\npool = "quiet"\n'
            '[[routes]]\npool = "default"\n'
        )
        yield running.enter_context(Balancer(folder, Setting(more=routes).text([ours.url])))


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processors, to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


class Rounds(NamedTuple):
    """What one flood did, round by round: when it was quiet and when not, frames, seconds of the processor, bytes."""

    name: str
    quiet: list[tuple[float, float]]
    loud: list[tuple[float, float]]
    frames: list[int]
    cpu_s: list[float]
    grown: list[int]

    def row(self, bystander: Bystander) -> Row:
        """Together with what the other client noticed."""
        before, during = bystander.during(self.quiet), bystander.during(self.loud)
        worst = (max(self.frames), max(self.cpu_s), max(self.grown))
        return Row(self.name, *worst, percentile(before, 0.99), percentile(during, 0.99), during[-1])


def measure(balancer: Balancer, rounds: int, stretch: float) -> list[Row]:
    """Floods in every way, some times, while the other client asks; `stretch` seconds without it before each."""
    measured = [Rounds(name, [], [], [], [], []) for name in FLOODS]
    with Bystander(balancer.port, "/other") as bystander:
        for each in measured:
            for _ in range(rounds):
                each.quiet.append(passed(time.monotonic(), stretch))
                each.loud.append(passed(run(balancer, each), stretch))
    return [each.row(bystander) for each in measured]


def passed(begin: float, seconds: float) -> tuple[float, float]:
    """So much time since `begin`, once it has passed, or more."""
    eventually(lambda: time.monotonic() - begin > seconds)
    return begin, time.monotonic()


def run(balancer: Balancer, rounds: Rounds) -> float:
    """One flood, to its GOAWAY; returns when it began."""
    (pid,) = balancer.workers
    used, resident = cpu_seconds(pid), balancer.resident()
    with Http2Client(balancer.port) as client:
        begin = time.monotonic()
        rounds.frames.append(FLOODS[rounds.name](client))
        assert_calmed(client)
    rounds.cpu_s.append(cpu_seconds(pid) - used)
    rounds.grown.append(balancer.resident() - resident)
    return begin


def table(rows: list[Row]) -> str:
    """The rows as the threat model has them."""
    lines = [
        "| flood | frames until GOAWAY | CPU | memory | p99 without | p99 with it | longest with it |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.name} | {row.frames:,} | {row.cpu_s * 1000:.0f} ms | {max(0, row.grown) / MIB:.1f} MiB | "
        f"{row.quiet_p99_s * 1000:.1f} ms | {row.p99_s * 1000:.1f} ms | {row.longest_s * 1000:.1f} ms |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Prints the table of all floods."""
    if not COMPILED:
        sys.stderr.write("INTERPRETED: these figures say nothing of a compiled build\n")
    with tempfile.TemporaryDirectory() as folder, stage(Path(folder)) as balancer:
        sys.stdout.write(table(measure(balancer, ROUNDS, STRETCH_S)))


if __name__ == "__main__":
    main()

"""How inputs are made: by atheris, which sees the coverage, or by mutation from a seed, which sees nothing.

Owns: both ways, and what a finding is.
Refuses to know: what is checked.

A finding is an exception, or an input that takes more than `SLOW_S` of the processor: by the clock, whatever else the
machine does would be found.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from fuzz import corpus

ROOT: Final = Path(__file__).resolve().parent.parent
WORK: Final = ROOT / "build" / "fuzz"
SLOW_S: Final = 5
# By the clock, for what never ends.
HANGS_S: Final = 600
_EXECUTIONS: Final = re.compile(r"^(?:Done (\d+) runs|stat::number_of_executed_units: +(\d+))", re.MULTILINE)
_COVERAGE: Final = re.compile(r"cov: (\d+)")


@dataclass(frozen=True)
class Outcome:
    """What a run of one target was: executions, edges seen (0: not measured), and findings as they were printed."""

    name: str
    executions: int
    seconds: float
    edges: int = 0
    finding: str = ""


@dataclass(frozen=True)
class Budget:
    """When a run ends: after so many inputs or so many seconds, whichever comes first; 0 is no limit."""

    runs: int = 0
    seconds: float = 0.0


def mutations(inputs: list[bytes], rng: Random, longest: int) -> Iterator[bytes]:
    """Endless: an input with a few of its bytes lost, doubled, changed or put in, or two of them joined."""
    poison = corpus.words(inputs)
    while True:
        data = inputs[rng.randrange(len(inputs))]
        for _ in range(rng.randrange(5)):
            data = _mutated(data, inputs, rng, poison)
        yield data[:longest]


def _mutated(data: bytes, inputs: list[bytes], rng: Random, poison: list[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    to = min(len(data), at + 1 + rng.randrange(8))
    match rng.randrange(7):
        case 0:
            middle = b""
        case 1:
            middle = data[at:to] * 2
        case 2:
            middle = poison[rng.randrange(len(poison))] + data[at:to]
        case 3:
            middle = poison[rng.randrange(len(poison))]
        case 4:
            middle = bytes((rng.randrange(256),)) + data[at + 1 : to]
        case 5:
            other = inputs[rng.randrange(len(inputs))]
            return data[:at] + other[rng.randrange(len(other) + 1) :]
        case _:
            middle = data[at:to].swapcase()
    return data[:at] + middle + data[to:]


def run_blind(name: str, check: Callable[[bytes], None], longest: int, budget: Budget, seed: int) -> Outcome:
    """The kept inputs first, then mutations of them; the same for the same seed.

    Raises:
        Exception: whatever the check raised, with the input as a note.
    """
    inputs = corpus.load(name)
    begin = time.monotonic()
    count = 0
    rng = Random(f"{name} {seed}")
    made = mutations(inputs, rng, longest)
    while not _is_over(budget, count, begin):
        data = inputs[count] if count < len(inputs) else next(made)
        try:
            check_in_time(check, data)
        except Exception as error:
            error.add_note(f"target {name}, input {data!r}")
            raise
        count += 1
    return Outcome(name, count, time.monotonic() - begin)


def check_in_time(check: Callable[[bytes], None], data: bytes) -> None:
    """The check of one input.

    Raises:
        TimeoutError: it took too long.
        Exception: whatever the check raised.
    """
    before = time.process_time()
    check(data)
    spent = time.process_time() - before
    if spent > SLOW_S:
        raise TimeoutError(f"{spent:.1f} s of the processor")


def _is_over(budget: Budget, count: int, begin: float) -> bool:
    spent = budget.seconds and time.monotonic() - begin >= budget.seconds
    return bool(spent or (budget.runs and count >= budget.runs))


def run_guided(name: str, longest: int, budget: Budget, seed: int) -> Outcome:
    """A run by atheris, in a process of its own; what it finds worth keeping stays below build/fuzz."""
    folder = WORK / name
    found, seeds = folder / "corpus", folder / "seeds"
    for each in (found, seeds):
        each.mkdir(parents=True, exist_ok=True)
    inputs = corpus.load(name)
    for number, data in enumerate(inputs):
        (seeds / f"{number:03}").write_bytes(data)
    words = folder / "words.dict"
    words.write_text("".join(f'"{_quoted(word)}"\n' for word in corpus.words(inputs)))
    finding = folder / "finding.txt"
    finding.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "fuzz.guided", name, str(finding), str(found), str(seeds)),
        *(f"-max_len={longest}", f"-timeout={HANGS_S}", f"-artifact_prefix={folder}/", f"-dict={words}"),
        *(f"-seed={seed or 1}", "-print_final_stats=1", "-verbosity=1"),
        *([f"-runs={budget.runs}"] if budget.runs else []),
        *([f"-max_total_time={max(1, round(budget.seconds))}"] if budget.seconds else []),
    ]
    begin = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    done = subprocess.run(  # noqa: S603  (our own module)
        command, cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    text = done.stdout + done.stderr
    counts = [int(a or b) for a, b in _EXECUTIONS.findall(text)]
    edges = [int(each) for each in _COVERAGE.findall(text)]
    # Without a traceback it was libFuzzer that found something: an input that takes too long, or too much memory.
    told = "" if done.returncode == 0 else finding.read_text() if finding.exists() else text[-4000:]
    return Outcome(name, max(counts, default=0), time.monotonic() - begin, max(edges, default=0), told)


def _quoted(word: bytes) -> str:
    return "".join(chr(c) if 0x20 <= c < 0x7F and c not in b'"\\' else f"\\x{c:02x}" for c in word)

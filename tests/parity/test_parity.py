"""Compiled and interpreted, the package does the same: one seeded corpus, played in both modes and compared.

`SEED=n pytest tests/parity` plays another corpus.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import equipoise.errors
from compiled_modules import SOURCE, compiled_modules
from tests.support.play import CASES

ROOT = SOURCE.parent
SEED = os.environ.get("SEED", "1")


def compiled_place() -> Path:
    """Where there is a compiled build of these sources: the one under test, or the one that is installed."""
    here = Path(str(equipoise.errors.__file__))
    if here.suffix == ".so":
        assert not stale(here.parents[1]), "the build under test is not of these sources; make compile"
        return here.parents[1]
    for place in (Path(entry) for entry in sys.path if entry):
        if any((place / "equipoise").glob("errors.*.so")):
            if stale(place):
                pytest.skip(f"the compiled build in {place} is not of these sources (make compile renews it)")
            return place
    pytest.skip("no compiled build is installed here (make compile makes one)")


def stale(place: Path) -> list[str]:
    """The compiled modules whose source has changed since; a build has a copy of each beside it."""
    copies = {name: place / path.relative_to(SOURCE) for name, path in compiled_modules().items()}
    return [
        name
        for name, path in compiled_modules().items()
        if not copies[name].is_file() or copies[name].read_bytes() != path.read_bytes()
    ]


def play(place: Path) -> list[str]:
    """The outcome of the corpus with the package of `place`."""
    path = os.pathsep.join([str(place), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-P", "-m", "tests.support.play", SEED]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stderr[-3_000:]
    first, *lines = done.stdout.splitlines()
    assert first.startswith(f"from {place}"), first
    assert first.endswith(".py") == (place == SOURCE), first
    return lines


def test_both_modes_do_the_same() -> None:
    place = compiled_place()
    interpreted, compiled = play(SOURCE), play(place)
    differences = [pair for pair in zip(interpreted, compiled, strict=True) if pair[0] != pair[1]]
    assert not differences, f"{len(differences)} of {len(interpreted)} cases differ; the first:\n" + "\n".join(
        differences[0]
    )


def test_the_corpus_is_eventful() -> None:
    """Cases that all end alike would compare nothing."""
    lines = play(SOURCE)
    kinds = Counter(line.split(" ", 1)[0] for line in lines)
    assert kinds == {name: count for name, (count, _) in CASES.items()}
    heads = [line for line in lines if line.startswith(("request ", "answer ", "chunked "))]
    refused = sum("refused" in line for line in heads)
    whole = sum(" read to " in line or " done: " in line for line in heads)
    assert min(refused, whole) > len(heads) // 5
    talks = [line for line in lines if line.startswith("talk ")]
    words = ["HTTP/1.1 200", "HTTP/1.1 400", "HTTP/1.1 502", "client_left", "connect_refused", "attempts=2", "aborted"]
    assert {word: found for word in words if (found := sum(word in line for line in talks)) < 5} == {}

"""Single operations (head scan, pick) compiled and interpreted: `python -m benchmarks.micro`, and part of a full run.

Owns: one process for each mode, and the check that each runs in the mode that it stands for.
Refuses to know: the operations (micro_cases).
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

from benchmarks.model import Build, MicroFigure
from benchmarks.report import micro_table

ROOT = Path(__file__).parent.parent
TIMEOUT_S = 120


class ModeFailed(Exception):
    """The operations could not be timed in a mode."""


class Timed(TypedDict):
    """What `micro_cases` prints."""

    compiled: bool
    ns: dict[str, float]


def measure(build: Build, source: Path) -> tuple[list[MicroFigure], list[str]]:
    """The build against the plain files in `source`. Returns the figures, and what went wrong."""
    modes: list[dict[str, float]] = []
    problems: list[str] = []
    for path, compiled in ((build.path, True), (str(source), False)):
        try:
            modes.append(_timed(build.python, path, compiled=compiled))
        except ModeFailed as error:
            modes.append({})
            problems.append(f"single operations, {'compiled' if compiled else 'interpreted'}: {error}")
    names = dict.fromkeys([*modes[0], *modes[1]])
    return [MicroFigure(name, modes[0].get(name), modes[1].get(name)) for name in names], problems


def _timed(python: str, path: str, *, compiled: bool) -> dict[str, float]:
    env = {**os.environ, "PYTHONPATH": path}
    argv = [python, "-m", "benchmarks.micro_cases"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, env=env, cwd=ROOT, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ModeFailed(f"not done after {TIMEOUT_S} s") from error
    if done.returncode:
        raise ModeFailed(f"ended with {done.returncode}: {done.stderr[-500:]}")
    found: Timed = json.loads(done.stdout)
    if found["compiled"] != compiled:
        raise ModeFailed(f"runs {'compiled' if found['compiled'] else 'interpreted'}")
    return found["ns"]


def main() -> int:
    """Print the table for the installed Equipoise."""
    figures, problems = measure(Build("equipoise", sys.executable), ROOT / "src")
    sys.stdout.write(micro_table(figures) + "\n")
    for problem in problems:
        sys.stderr.write(f"PROBLEM: {problem}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The command: `python -m fuzz TARGET... [--runs N] [--seconds S]`.

Owns: the options, and the exit code.
Refuses to know: how inputs are made, and what is checked.

Exit codes: 0 nothing found, 1 a finding, 2 wrong usage.
"""

import argparse
import importlib.util
import sys
import traceback
from collections.abc import Sequence

from fuzz.engine import Budget, Outcome, run_blind, run_guided
from fuzz.targets import TARGETS

ALL = "all"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz what the options say."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "targets", nargs="+", choices=[*TARGETS, ALL], metavar="TARGET", help=", ".join([*TARGETS, ALL])
    )
    parser.add_argument("--runs", type=int, default=0, help="inputs for each target")
    parser.add_argument("--seconds", type=float, default=0.0, help="seconds for each target (60 when nothing is given)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same mutations")
    parser.add_argument("--blind", action="store_true", help="without coverage: nothing but this Python is needed")
    options = parser.parse_args(arguments)
    blind = options.blind or importlib.util.find_spec("atheris") is None
    if blind and not options.blind:
        print("atheris is not installed: without coverage")
    budget = Budget(options.runs, options.seconds or (0.0 if options.runs else 60.0))
    names = list(TARGETS) if ALL in options.targets else options.targets
    outcomes = [_run(name, budget, options.seed, blind=blind) for name in names]
    print(f"{sum(each.executions for each in outcomes):,} executions in {sum(each.seconds for each in outcomes):.0f} s")
    return 1 if any(each.finding for each in outcomes) else 0


def _run(name: str, budget: Budget, seed: int, *, blind: bool) -> Outcome:
    target = TARGETS[name]
    if blind:
        try:
            outcome = run_blind(name, target.check, target.longest, budget, seed)
        except Exception:
            outcome = Outcome(name, 0, 0.0, finding=traceback.format_exc())
    else:
        outcome = run_guided(name, target.longest, budget, seed)
    edges = f", {outcome.edges:,} edges" if outcome.edges else ""
    print(f"{name}: {outcome.executions:,} executions in {outcome.seconds:.0f} s{edges}: ", end="")
    print("FOUND" if outcome.finding else "nothing found", flush=True)
    if outcome.finding:
        print(outcome.finding, flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())

"""What is publicly known against the packages that the locks pin: pip-audit asks for Python's, npm for the dashboard's.

Owns: what their answers mean, and which advisories do not concern us.
Refuses to know: where advisories are kept; the two programs ask what they are set up to ask.

Exit codes: 0 nothing is known, or nobody could be asked; 1 something is known; 2 nobody could be asked and
EQUIPOISE_REQUIRE_AUDIT=1 makes a failure of that.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
REQUIRE: Final = "EQUIPOISE_REQUIRE_AUDIT"
PATIENCE_S: Final = 600
# Advisory -> why it does not concern us. An entry goes when the package that it is about has been mended.
ACCEPTED: Final[Mapping[str, str]] = {}


@dataclass(frozen=True)
class Advisory:
    """Something that is known against a package; `names` are all that it is called by."""

    package: str
    names: tuple[str, ...]
    remedy: str

    def __str__(self) -> str:
        return f"{self.package}: {', '.join(self.names)}; {self.remedy}"


@dataclass(frozen=True)
class Answer:
    """How many packages were looked up, what is known of them, and why others were not (empty: there are none)."""

    packages: int
    known: Sequence[Advisory] = ()
    unanswered: str = ""


def main() -> int:
    """Ask both, and say what they said."""
    locks = sorted((ROOT / "requirements").glob("*.lock"))
    answers = {"Python": ask_pip_audit(locks), "dashboard": ask_npm(ROOT / "dashboard")}
    status = 0
    for subject, answer in answers.items():
        concerning = [each for each in answer.known if not ACCEPTED.keys() & set(each.names)]
        print(f"{subject}: {answer.packages} packages looked up, {len(concerning)} advisories")
        for advisory in concerning:
            print(f"  {advisory}")
        if answer.unanswered:
            print(f"{subject}: NOT AUDITED: {answer.unanswered}")
        status = 1 if concerning else status or (2 if answer.unanswered and os.environ.get(REQUIRE) == "1" else 0)
    return status


def ask_pip_audit(locks: Sequence[Path]) -> Answer:
    """Of all packages in some locks, as they are pinned: nothing is resolved, nothing is installed."""
    words = ["--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off"]
    found, problem = _ask(
        ["pip-audit", *words, *(word for lock in locks for word in ("--requirement", str(lock)))], ROOT
    )
    if found is None:
        return Answer(0, unanswered=problem)
    packages = found["dependencies"]
    skipped = [each["skip_reason"] for each in packages if "skip_reason" in each]
    known = [_of_pip_audit(each, one) for each in packages for one in each.get("vulns", ())]
    # It leaves out what its source does not know, and still says that all is well.
    unanswered = f"{len(skipped)} of {len(packages)} packages, the first: {skipped[0]}" if skipped else ""
    return Answer(len(packages) - len(skipped), known, unanswered)


def _of_pip_audit(package: Any, found: Any) -> Advisory:
    fixed = ", ".join(found["fix_versions"])
    names = (found["id"], *found.get("aliases", ()))
    return Advisory(f"{package['name']} {package['version']}", names, f"fixed in {fixed}" if fixed else "no fix yet")


def ask_npm(folder: Path) -> Answer:
    """Of the packages in npm's lock in a folder; nothing is installed."""
    found, problem = _ask(["npm", "audit", "--json", "--package-lock-only"], folder)
    if found is None or "vulnerabilities" not in found:
        return Answer(0, unanswered=problem if found is None else str(found.get("message", found)))
    known = [_of_npm(name, each, why) for name, each in found["vulnerabilities"].items() for why in each["via"]]
    return Answer(found["metadata"]["dependencies"]["total"], known)


def _of_npm(package: str, found: Any, why: Any) -> Advisory:
    """`why` is an advisory, or the name of a dependency that has one."""
    name = f"through {why}" if isinstance(why, str) else why["url"].rpartition("/")[2]
    fixed = "a fix is available" if found.get("fixAvailable") else "no fix yet"
    return Advisory(f"{package} {found['range']}", (name,), fixed)


def _ask(command: Sequence[str], folder: Path) -> tuple[Any, str]:
    """What a program says in JSON, whatever its exit code; none, with the reason, when it says nothing such."""
    program = shutil.which(command[0])
    if program is None:
        return None, f"{command[0]} is not installed"
    try:
        done = subprocess.run(  # noqa: S603  (the two programs, and words of ours)
            [program, *command[1:]], cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        return None, f"{command[0]} had no answer after {PATIENCE_S} s"
    try:
        return json.loads(done.stdout), ""
    except ValueError:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return None, f"{command[0]}: {lines[-1]}"


if __name__ == "__main__":
    sys.exit(main())

"""What the figures were made on: processor, kernel, versions, commit. No host names, no paths.

Owns: the questions to the machine and to the programs, and the reading of their answers.
Refuses to know: the figures.
"""

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.model import Build
from benchmarks.rows import MissingProgram, Programs

_VERSION_OPTIONS: dict[str, tuple[str, ...]] = {
    "nginx": ("-v",),
    "haproxy": ("-v",),
    "envoy": ("--version",),
    "traefik": ("version",),
    "caddy": ("version",),
    "wrk": ("-v",),
    "nghttpx": ("--version",),
    "nghttpd": ("--version",),
    "h2load": ("--version",),
    "ab": ("-V",),
    "varnishd": ("-V",),
}
_ASK_PYTHON = (
    "import importlib.metadata as m, platform\n"
    "print('Python', platform.python_version())\n"
    "for name in ('uvloop', 'mypy'):\n"
    "    try: print(name, m.version(name))\n"
    "    except m.PackageNotFoundError: pass\n"
)


def processor(cpuinfo: str) -> str:
    """The model's name from /proc/cpuinfo; other architectures than x86 have no such line."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def version(text: str) -> str:
    """The first dotted number in what a program says about itself."""
    found = re.search(r"\d+\.\d+(?:\.\d+)*", text)
    return found[0] if found else "unknown"


def describe() -> dict[str, str]:
    """The machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": processor(Path("/proc/cpuinfo").read_text(encoding="utf-8")),
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {version(platform.release())}",
    }


def commit() -> str:
    """The commit that the work tree is at, and whether files differ from it."""
    head = _ask(["git", "rev-parse", "--short=12", "HEAD"])
    if not re.fullmatch(r"[0-9a-f]{12}\s*", head):
        return "unknown"
    changed = _ask(["git", "status", "--porcelain", "--", "src", "setup.py", "pyproject.toml"])
    return head.strip() + (" with changes" if changed.strip() else "")


def versions(programs: Programs, builds: Sequence[Build], names: Sequence[str]) -> dict[str, str]:
    """Version of each program, and of what Equipoise runs on."""
    found = {}
    for name in names:
        try:
            path = programs.find(name)
        except MissingProgram:
            found[name] = "missing"
            continue
        answer = _ask([path, *_VERSION_OPTIONS[name]])
        found[name] = version(answer.replace(path, ""))  # Envoy begins with its own path, which holds a number
    if builds:
        lines = _ask([builds[0].python, "-c", _ASK_PYTHON]).splitlines()
        found |= dict(line.split(" ", 1) for line in lines if " " in line)
    return found


def _ask(argv: Sequence[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr

"""Builds Equipoise: the modules of compiled_modules.py through mypyc, all of them or none; and the dashboard's files.

Owns: the two switches of compilation and what a failed compile means under each of them.
Refuses to know: metadata and dependencies (pyproject.toml), which modules are compiled (compiled_modules.py), and what
the dashboard brings in from elsewhere (dashboard/vendor.py).

EQUIPOISE_SKIP_COMPILE=1      pure Python; neither mypy nor a C compiler is needed.
EQUIPOISE_REQUIRE_COMPILE=1   a module that does not translate or compile fails the build.
neither                       such a failure is reported loudly and the build goes on in pure Python.
EQUIPOISE_OPT_LEVEL=0..3      the C optimisation level; 3 unless set, 0 builds several times faster.
EQUIPOISE_REQUIRE_DASHBOARD=1   no npm, or one that fails, fails the build; otherwise the dashboard is left out, loudly.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# PEP 517 front ends run this file without its folder on the path.
sys.path.insert(0, str(ROOT))

from compiled_modules import compiled_modules  # noqa: E402  (the path has to be extended first)

# A front end runs this file once a question (requirements, metadata, wheel); only these commands need the translation.
BUILD_COMMANDS = frozenset({"bdist_wheel", "build", "build_ext", "develop", "editable_wheel", "install"})


def switch(name: str) -> bool:
    """Whether the environment variable is on; anything but the words below stops the build rather than guess."""
    value = os.environ.get(name, "").strip().lower()
    if value in {"", "0", "false", "no"}:
        return False
    if value in {"1", "true", "yes"}:
        return True
    sys.exit(f"equipoise: {name} must be 1 or 0, not {value!r}")


SKIP = switch("EQUIPOISE_SKIP_COMPILE")
REQUIRE = switch("EQUIPOISE_REQUIRE_COMPILE")
OPT_LEVEL = os.environ.get("EQUIPOISE_OPT_LEVEL", "3")


def fall_back(stage: str, error: object) -> None:
    """Say loudly that the build goes on without compiled modules, or end it where compilation is required."""
    if REQUIRE:
        sys.exit(f"equipoise: {stage} failed and EQUIPOISE_REQUIRE_COMPILE is set: {error}")
    line = "*" * 100
    print(
        f"{line}\nequipoise: {stage} FAILED: {error}\n"
        f"equipoise: going on in PURE PYTHON: everything works, about 20 times slower.\n"
        f"equipoise: EQUIPOISE_REQUIRE_COMPILE=1 makes this an error, EQUIPOISE_SKIP_COMPILE=1 silences it.\n{line}",
        file=sys.stderr,
        flush=True,
    )


def translate() -> list[Extension]:
    """Turn the modules into C extensions, in one call, so that calls between them stay native."""
    # Relative, so that messages name files as the repository does; front ends start in the project's root.
    paths = [os.path.relpath(path, Path.cwd()) for path in compiled_modules().values()]
    if not paths:
        return []
    try:
        from mypyc.build import mypycify  # noqa: PLC0415  (a pure build must do without mypy)

        extensions: list[Any] = mypycify(paths, opt_level=OPT_LEVEL, debug_level="0", group_name="equipoise")
    except (Exception, SystemExit) as error:  # noqa: BLE001  (mypyc reports type errors by exiting; all of it is "did not translate")
        said = "see the errors above" if isinstance(error, SystemExit) else error
        fall_back("translation by mypyc", said)
        return []
    for extension in extensions:
        # All modules are one file of C. Unless it is said that nobody calls into it from outside, its functions call
        # each other through a table, and none can be inlined; and calls of Python's own need no stop on their way.
        extension.extra_compile_args += ["-fvisibility=hidden", "-fno-plt"]
    return extensions


class AllOrNothing(build_ext):
    """Compiles every extension or leaves none behind: mypyc's shims are useless without their shared library."""

    def run(self) -> None:
        """Compile; on failure remove what was built so far and fall back."""
        try:
            super().run()
        except Exception as error:  # noqa: BLE001  (no compiler, no headers, a C error: every cause has the same effect)
            fall_back("compilation of the C code", error)
            for extension in self.extensions:
                Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
            self.extensions = []


class WithDashboard(build_py):
    """Brings the dashboard's third-party files into the package before its data is collected."""

    def run(self) -> None:
        """Run dashboard/vendor.py, which says what it could not do; then collect."""
        vendor = ROOT / "dashboard" / "vendor.py"
        if vendor.is_file() and subprocess.run([sys.executable, str(vendor)], check=False).returncode:  # noqa: S603  (our own file)
            sys.exit("equipoise: the build ends here, without the dashboard that it was told to have")
        super().run()


if SKIP and REQUIRE:
    sys.exit("equipoise: EQUIPOISE_SKIP_COMPILE and EQUIPOISE_REQUIRE_COMPILE exclude each other; set one of them")
if OPT_LEVEL not in {"0", "1", "2", "3"}:
    sys.exit(f"equipoise: EQUIPOISE_OPT_LEVEL must be 0, 1, 2 or 3, not {OPT_LEVEL!r}")

setup(
    ext_modules=translate() if not SKIP and BUILD_COMMANDS.intersection(sys.argv[1:]) else [],
    cmdclass={"build_ext": AllOrNothing, "build_py": WithDashboard},
)

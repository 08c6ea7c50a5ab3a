"""Brings the dashboard's third-party code into the package: `python dashboard/vendor.py`.

Owns: which files are taken from npm, at the versions and hashes of package-lock.json, and what it means when that
cannot be done.
Refuses to know: the dashboard. Uses the standard library alone, since setup.py runs it too.

Nothing of it is committed; it lies in src/equipoise/admin/static/vendor, with each licence, until package-lock.json or
this file changes. Where npm is missing or fails, the build goes on without the dashboard and says so loudly;
EQUIPOISE_REQUIRE_DASHBOARD=1 makes that an error.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
FOLDER: Final = HERE.parent / "src" / "equipoise" / "admin" / "static" / "vendor"
# Written into the folder when all else is there; the balancer serves the dashboard where it finds it.
MANIFEST: Final = "manifest.json"

# Name in the folder -> file in node_modules.
FILES: Final = {
    "preact.js": "preact/dist/preact.mjs",
    "hooks.js": "preact/hooks/dist/hooks.mjs",
    "htm.js": "htm/dist/htm.mjs",
    "uplot.js": "uplot/dist/uPlot.esm.js",
    "uplot.css": "uplot/dist/uPlot.min.css",
    "preact.LICENSE.txt": "preact/LICENSE",
    "htm.LICENSE.txt": "htm/LICENSE",
    "uplot.LICENSE.txt": "uplot/LICENSE",
}
# A browser knows no package names: (file, as published, as served). Each stands in its file exactly once.
REWRITES: Final = (
    ("hooks.js", 'from"preact"', 'from"./preact.js"'),
    ("hooks.js", "//# sourceMappingURL=hooks.mjs.map", ""),
    ("preact.js", "//# sourceMappingURL=preact.mjs.map", ""),
)
# A registry that does not answer must not hold up a build for npm's usual minutes.
PATIENCE_S: Final = 180
NPM_CI: Final = (
    "ci",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--fetch-retries=1",
    "--fetch-timeout=30000",
)


class CannotError(Exception):
    """The files cannot be had; the text says why."""


def main() -> int:
    """Bring the files in unless they are there already; 1 when that fails and the dashboard is required."""
    required = os.environ.get("EQUIPOISE_REQUIRE_DASHBOARD", "").strip().lower() not in {"", "0", "false", "no"}
    try:
        if not current(FOLDER):
            bring(FOLDER)
    except CannotError as error:
        shutil.rmtree(FOLDER, ignore_errors=True)  # files of an older lock are not what was asked for
        say(str(error), required=required)
        return 1 if required else 0
    return 0


def current(folder: Path) -> bool:
    """Whether the folder holds what this file and the lock ask for."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    there = all((folder / name).is_file() for name in FILES)
    return there and isinstance(manifest, dict) and manifest.get("made_from") == made_from()


def made_from() -> str:
    """A digest of all that decides what lies in the folder."""
    parts = (HERE / name for name in ("package.json", "package-lock.json", "vendor.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in parts)).hexdigest()


def bring(folder: Path) -> None:
    """Install into a temporary folder, copy what is needed, and put it in place by one rename.

    Raises:
        CannotError: npm is missing, it failed, or a package does not hold what is expected.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise CannotError("npm is not installed")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="equipoise-dashboard-") as scratch:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, scratch)
        install(npm, Path(scratch))
        # Beside its destination, since a rename does not cross file systems.
        fresh = Path(tempfile.mkdtemp(prefix=".vendor-", dir=folder.parent))
        try:
            copy(Path(scratch) / "node_modules", fresh)
            fresh.chmod(0o755)
            shutil.rmtree(folder, ignore_errors=True)
            fresh.rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def install(npm: str, folder: Path) -> None:
    """Run npm, which checks every package against the lock's hash; no script of a package runs.

    Raises:
        CannotError: it failed, or took too long.
    """
    try:
        done = subprocess.run(  # noqa: S603  (our own words, no shell)
            [npm, *NPM_CI], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotError(f"npm ci: {error}") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("npm error")] or done.stderr.splitlines()
        raise CannotError("npm ci failed:\n  " + "\n  ".join(said[:5]))


def copy(modules: Path, folder: Path) -> None:
    """Copy the files out of node_modules, rewritten where the browser needs it, and the manifest last.

    Raises:
        CannotError: a file, or a text to be rewritten, is not there once.
    """
    texts: dict[str, str] = {}
    for name, source in FILES.items():
        try:
            texts[name] = (modules / source).read_text(encoding="utf-8")
        except OSError as error:
            raise CannotError(f"the package has no {source}") from error
    for name, published, served in REWRITES:
        if texts[name].count(published) != 1:
            raise CannotError(f"{FILES[name]} does not have {published} once")
        texts[name] = texts[name].replace(published, served)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    versions = json.loads((HERE / "package.json").read_bytes())["dependencies"]
    manifest = {"made_from": made_from(), "packages": versions}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def say(why: str, *, required: bool) -> None:
    """Say loudly what is missing and how to get it."""
    if required:
        print(f"equipoise: no dashboard, but EQUIPOISE_REQUIRE_DASHBOARD is set: {why}", file=sys.stderr)
        return
    line = "*" * 100
    print(
        f"{line}\nequipoise: the DASHBOARD IS LEFT OUT of this build: {why}\n"
        f"equipoise: everything else works; GET / of the admin API says what is missing.\n"
        f"equipoise: with Node.js and npm installed, build again. EQUIPOISE_REQUIRE_DASHBOARD=1 makes this an error.\n"
        f"{line}",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())

"""Which modules mypyc compiles: the one list, computed from the folders, minus the exclusions below.

Owns: the answer to "is this module an extension in a compiled installation?", for setup.py and for the tests.
Refuses to know: how a module is compiled, and whether the installation at hand is a compiled one.
"""

from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).resolve().parent / "src"
PACKAGE: Final = "equipoise"

# A module directly in the package is compiled when it stands here; in these folders every module is.
COMPILED_MODULES: Final = ("errors",)
COMPILED_FOLDERS: Final = ("wire", "policy", "state", "proxy")

# Modules inside those folders that stay interpreted, each with its reason. `model.py` needs no entry: it lies in no
# compiled folder, because mypyc cannot build on the metaclass of msgspec's structs.
INTERPRETED: Final[dict[str, str]] = {
    "equipoise.proxy.access_log": "its records are msgspec structs, whose metaclass mypyc cannot build on",
    "equipoise.proxy.log_file": "runs once a batch in a thread of its own, where nothing is to be gained",
    "equipoise.proxy.tls": "makes contexts at a change; of a handshake it sees one look-up, OpenSSL does the rest",
}


def compiled_modules() -> dict[str, Path]:
    """Dotted name -> file of every module that is compiled, sorted by name.

    A package's `__init__` holds no logic (the architecture test sees to that), so compiling it would gain nothing.
    """
    root = SOURCE / PACKAGE
    files = [root / f"{name}.py" for name in COMPILED_MODULES]
    for folder in COMPILED_FOLDERS:
        files += [path for path in (root / folder).rglob("*.py") if path.name != "__init__.py"]
    named = {dotted_name(path): path for path in files if path.is_file()}
    return {name: named[name] for name in sorted(named) if name not in INTERPRETED}


def dotted_name(path: Path) -> str:
    """`src/equipoise/wire/http1.py` -> `equipoise.wire.http1`; a package's `__init__.py` -> the package's name."""
    parts = path.resolve().relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

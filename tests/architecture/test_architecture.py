"""Which module may import what.

Owns: the arrows between the folders, and what the pure folders may not touch.
Refuses to know: sizes (test_budgets), words (test_vocabulary), the tests' own layout (test_mirror).
"""

import ast
import subprocess
import sys

import pytest

from compiled_modules import PACKAGE, SOURCE
from tests.architecture.tree import Module, imports, modules

# A module imports from its own place or from places above it in this list. The command line stands below the demo,
# since `equipoise demo` is one of its commands; `__main__` is its other door. The library is Equipoise inside other
# programs: it starts the command and talks to it as the command line does. The package's own `__init__` ("") may load
# nothing; it names what the library offers.
ORDER = (
    *("", "errors", "model"),
    *("wire", "policy", "config", "state", "proxy", "runtime", "admin", "demo", "cli", "library"),
    "__main__",
)
LAZY = PACKAGE
"""The one module whose imports happen when an attribute is asked for."""

CLOCKS = {"time", "datetime", "sched"}
CHANCE = {"random", "secrets", "uuid"}
NETWORK = {"asyncio", "select", "selectors", "socket", "socketserver", "ssl", "uvloop"}
PROCESS = {"multiprocessing", "os", "signal", "subprocess", "sys", "threading"}
LOGGING = {"logging", "structlog", "loguru"}

# What a place may not import: clock, chance and the world outside are arguments to everything above proxy/ in the list.
PURE = CLOCKS | CHANCE | NETWORK | PROCESS
FORBIDDEN = {
    "errors": PURE,
    "model": PURE,
    "wire": PURE,
    "policy": PURE,
    "config": CHANCE | NETWORK | {"time", "subprocess", "threading", "multiprocessing"},
    "state": CLOCKS | CHANCE | NETWORK | {"subprocess", "threading", "multiprocessing"},
    # It may start a thread: the disk under the access log blocks, and the loop must not.
    "proxy": {"subprocess", "multiprocessing"},
}

# Only these modules may import a logging library: everything else hands its words to them.
LOGGERS = {
    f"{PACKAGE}.runtime.app_log": "the application's log",
    f"{PACKAGE}.proxy.access_log": "the sinks `logging` and `structlog` of the access log",
}


def test_every_folder_has_a_place_in_the_order() -> None:
    assert {module.place for module in modules()} <= set(ORDER)


def test_every_folder_is_a_package() -> None:
    folders = {path.parent for path in (SOURCE / PACKAGE).rglob("*.py")} | {SOURCE / PACKAGE}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("module", [m for m in modules() if m.name != LAZY], ids=str)
def test_imports_point_up_the_order(module: Module) -> None:
    own = ORDER.index(module.place)
    wrong = []
    for name, line in imports(module):
        parts = name.split(".")
        if parts[0] == PACKAGE and len(parts) > 1 and parts[1] != module.place and ORDER.index(parts[1]) >= own:
            wrong.append(f"line {line}: {name}")
    assert wrong == []


def test_no_two_modules_import_each_other_even_in_a_circle() -> None:
    ours = {module.name for module in modules()}
    arrows = {
        m.name: sorted({name for name, _ in imports(m) if name in ours and name != m.name})
        for m in modules()
        if m.name != LAZY
    }
    assert find_circle(arrows) is None


def find_circle(arrows: dict[str, list[str]]) -> list[str] | None:
    """A path along the arrows that ends where it starts; None when there is none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        for target in arrows.get(name, []):
            if circle := visit(target, [*path, name]):
                return circle
        done.add(name)
        return None

    return next((circle for name in arrows if (circle := visit(name, []))), None)


def test_find_circle_finds_a_circle_behind_a_detour() -> None:
    assert find_circle({"a": ["b"], "b": ["c"], "c": ["d"], "d": ["b"]}) == ["b", "c", "d", "b"]


def test_the_package_loads_nothing_of_its_own_until_it_is_asked() -> None:
    """Every worker and every run of pytest imports it."""
    show = "print([name for name in sys.modules if name.startswith('equipoise.')])"
    command = [sys.executable, "-c", f"import sys, equipoise; {show}; equipoise.ConfigError; {show}"]
    before, after = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert before == "[]"
    assert "equipoise.config.problems" in after


def test_the_package_names_what_the_library_offers_and_nothing_else() -> None:
    import equipoise  # noqa: PLC0415 -- the test is about this import

    offered = {name: getattr(equipoise, name) for name in equipoise.__all__ if name != "__version__"}
    assert {value.__name__ for value in offered.values()} == set(offered)
    with pytest.raises(AttributeError, match="no attribute 'Balancr'"):
        equipoise.Balancr  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("module", [m for m in modules() if m.place in FORBIDDEN], ids=str)
def test_clock_chance_and_world_are_arguments_to_the_pure_folders(module: Module) -> None:
    forbidden = FORBIDDEN[module.place]
    assert [f"line {line}: {name}" for name, line in imports(module) if name.split(".")[0] in forbidden] == []


@pytest.mark.parametrize("module", [m for m in modules() if m.name not in LOGGERS], ids=str)
def test_only_the_log_modules_import_a_logging_library(module: Module) -> None:
    assert [f"line {line}: {name}" for name, line in imports(module) if name.split(".")[0] in LOGGING] == []


@pytest.mark.parametrize("module", [m for m in modules() if not m.is_package], ids=str)
def test_a_module_opens_with_what_it_owns_and_what_it_refuses_to_know(module: Module) -> None:
    doc = ast.get_docstring(module.tree) or ""
    assert [word for word in ("Owns:", "Refuses to know:") if word not in doc] == []


@pytest.mark.parametrize("module", [m for m in modules() if m.is_package], ids=str)
def test_an_init_holds_no_logic(module: Module) -> None:
    """It may have a docstring, imports, and constants that are literals; the package's own names what it loads late."""
    wrong = []
    for statement in module.tree.body:
        match statement:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")) if module.name == LAZY:
                continue
            case ast.If(body=[ast.FunctionDef(name="__getattr__")]) if module.name == LAZY:
                continue
            case ast.Expr(value=ast.Constant(value=str())) | ast.Import() | ast.ImportFrom():
                continue
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value) if is_literal(value):
                continue
            case _:
                wrong.append(f"line {statement.lineno}: {ast.unparse(statement).splitlines()[0]}")
    assert wrong == []


def is_literal(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except ValueError:
        return False
    return True

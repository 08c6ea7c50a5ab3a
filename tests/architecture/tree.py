"""The source tree, parsed once: what the architecture tests look at.

Owns: the modules of src as syntax trees, with their imports resolved to modules of ours.
Refuses to know: the rules.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from compiled_modules import PACKAGE, SOURCE, dotted_name

ROOT = SOURCE.parent

# Above it a module is named in the header of each test run; the hard budget is a test.
SOFT_LINES = 400


@dataclass(frozen=True)
class Module:
    """One file of src."""

    name: str
    path: Path
    tree: ast.Module
    lines: int

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def place(self) -> str:
        """The folder directly below the package, or the name of a module that lies there itself; "" for the package."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else ""

    def __str__(self) -> str:
        return self.name


@cache
def modules() -> tuple[Module, ...]:
    return tuple(parse(path) for path in sorted((SOURCE / PACKAGE).rglob("*.py")))


def parse(path: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    return Module(dotted_name(path), path, ast.parse(text, str(path)), len(text.splitlines()))


def imports(module: Module) -> Iterator[tuple[str, int]]:
    """Dotted names of everything that the module imports, wherever in the file, with the line.

    `from a.b import c` yields `a.b.c` when that is a module of ours, and `a.b` otherwise. A call of `import_module`
    with a literal counts as well.
    """
    ours = {each.name for each in modules()}
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names=names):
                yield from ((alias.name, node.lineno) for alias in names)
            case ast.ImportFrom(module=str(source), level=0, names=names):
                for alias in names:
                    full = f"{source}.{alias.name}"
                    yield (full if full in ours else source), node.lineno
            case ast.ImportFrom():
                message = (
                    f"{module.path}:{node.lineno}: a relative import; this test and its readers need the full name"
                )
                raise AssertionError(message)
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]):
                yield name, node.lineno
            case ast.Call(func=ast.Name(id="import_module"), args=[ast.Constant(value=str(name)), *_]):
                yield name, node.lineno
            case _:
                pass


def functions(module: Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function with its qualified name, methods and nested ones included."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{prefix}{child.name}", child
            inner = (
                f"{prefix}{child.name}."
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                else prefix
            )
            yield from walk(child, inner)

    yield from walk(module.tree, "")

"""What mypyc compiles into something other than Python would run.

Owns: the patterns that mypy lets pass and that break only when compiled.
Refuses to know: what the modules do.
"""

import ast

import pytest

from compiled_modules import compiled_modules
from tests.architecture.tree import Module, functions, modules

COMPILED = [module for module in modules() if module.name in compiled_modules()]


def caught(node: ast.AST) -> dict[str, set[str]]:
    """The names that except clauses give, each with the exceptions it stands for."""
    names: dict[str, set[str]] = {}
    for each in ast.walk(node):
        if isinstance(each, ast.ExceptHandler) and each.name and each.type is not None:
            names.setdefault(each.name, set()).add(ast.unparse(each.type))
    return names


@pytest.mark.parametrize("module", COMPILED, ids=str)
def test_a_name_stands_for_one_kind_of_exception_in_a_function(module: Module) -> None:
    twice = {name: caught(node) for name, node in functions(module)}
    assert [(name, found) for name, found in twice.items() if any(len(kinds) > 1 for kinds in found.values())] == []


def test_two_kinds_of_exceptions_under_one_name_are_seen() -> None:
    code = "try: f()\nexcept ValueError as error: g(error)\nexcept OSError as error: h(error)"
    assert caught(ast.parse(code)) == {"error": {"ValueError", "OSError"}}

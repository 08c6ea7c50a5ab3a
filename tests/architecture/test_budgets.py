"""How long and how wide things may be.

Owns: the budgets.
Refuses to know: what is in them.
"""

import ast

import pytest

from tests.architecture.tree import Module, functions, modules

HARD_LINES = 600
FUNCTION_LINES = 50
PARAMETERS = 5


@pytest.mark.parametrize("module", modules(), ids=str)
def test_a_module_has_at_most_600_lines(module: Module) -> None:
    assert module.lines <= HARD_LINES


@pytest.mark.parametrize("module", modules(), ids=str)
def test_a_function_has_at_most_50_lines(module: Module) -> None:
    sizes = {name: lines_of(node) for name, node in functions(module)}
    assert {name: size for name, size in sizes.items() if size > FUNCTION_LINES} == {}


@pytest.mark.parametrize("module", modules(), ids=str)
def test_a_function_has_at_most_5_parameters(module: Module) -> None:
    counts = {name: parameters_of(node) for name, node in functions(module) if not is_command(node)}
    assert {name: count for name, count in counts.items() if count > PARAMETERS} == {}


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From `def` to the last line, without the docstring: a thorough contract must not cost code."""
    assert node.end_lineno is not None
    size = node.end_lineno - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None and first.end_lineno is not None:
        size -= first.end_lineno - first.lineno + 1
    return size


def parameters_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """All of them, keyword-only ones too, but neither self nor cls."""
    arguments = node.args
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    names += [each.arg for each in (arguments.vararg, arguments.kwarg) if each is not None]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def is_command(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it is a command of the CLI, where typer makes an option of each parameter: all of them are typer's."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return bool(arguments) and all(is_option(each.annotation) for each in arguments)


def is_option(annotation: ast.expr | None) -> bool:
    text = "" if annotation is None else ast.unparse(annotation)
    # What several commands share has a name, and these names end as typer's do.
    shared = text.endswith(("Option", "Argument"))
    return shared or "typer.Option(" in text or "typer.Argument(" in text or text == "typer.Context"


def parse_function(text: str) -> ast.FunctionDef:
    node = ast.parse(text).body[0]
    assert isinstance(node, ast.FunctionDef)
    return node


def test_self_is_no_parameter_but_a_keyword_is() -> None:
    assert parameters_of(parse_function("def f(self, a, /, b, *rest, c=1, **more): ...")) == 5


def test_a_docstring_is_no_line_of_a_function() -> None:
    assert lines_of(parse_function('def f():\n    """One.\n\n    Two.\n    """\n    return 1')) == 2


def test_a_command_is_a_function_whose_parameters_are_all_options() -> None:
    option = "Annotated[int, typer.Option()]"
    assert is_command(parse_function(f"def f(a: {option}, b: {option} = 1): ..."))
    assert not is_command(parse_function(f"def f(a: {option}, b: int = 1): ..."))

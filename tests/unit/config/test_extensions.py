from pathlib import Path

import pytest

from equipoise.config.extensions import load_algorithm, load_factory, load_object
from equipoise.policy import balance


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's own, found under a name that no other test uses."""
    name = f"own_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(
        "from equipoise.policy.balance import Algorithm\nclass Mine(Algorithm): pass\nclass Other: pass\nnumber = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_reference_names_an_object_of_a_module() -> None:
    assert load_object("python:equipoise.policy.balance:Algorithm") is balance.Algorithm


@pytest.mark.parametrize(
    "reference", ["python:", "python:os", "python:os:", "python:os:a.b", "python:o s:x", "os:path"]
)
def test_a_malformed_reference_is_refused(reference: str) -> None:
    with pytest.raises(ValueError, match='must be "python:module:name"'):
        load_object(reference)


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="No module named 'not_there'"):
        load_object("python:not_there:Class")


def test_a_name_that_is_not_in_the_module_is_named() -> None:
    with pytest.raises(ValueError, match="'Nothing'"):
        load_object("python:equipoise.policy.balance:Nothing")


@pytest.mark.parametrize("text", ["raise RuntimeError('broken')", "import sys; sys.exit('broken')"])
def test_a_module_that_fails_or_leaves_is_a_problem_and_no_crash(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing_module.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="broken"):
        load_object("python:failing_module:Class")


def test_a_subclass_of_algorithm_is_an_algorithm(own_module: str) -> None:
    load_algorithm(f"python:{own_module}:Mine")


@pytest.mark.parametrize("name", ["Other", "number", "Algorithm"])
def test_anything_else_is_no_algorithm(own_module: str, name: str) -> None:
    with pytest.raises(ValueError, match="must name a subclass"):
        load_algorithm(f"python:{own_module}:{name}")


def test_a_factory_is_something_that_can_be_called(own_module: str) -> None:
    load_factory(f"python:{own_module}:Other")
    with pytest.raises(ValueError, match="can be called"):
        load_factory(f"python:{own_module}:number")

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from equipoise.admin import models
from equipoise.admin.models import AlgorithmChoice, NewTarget, TargetChanges

MODELS = [
    kind
    for kind in vars(models).values()
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not BaseModel
]
EXAMPLES = [
    pytest.param(kind, example, id=kind.__name__)
    for kind in MODELS
    for example in kind.model_json_schema().get("examples", ())
]


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_every_example_is_what_it_is_an_example_of(kind: type[BaseModel], example: dict[str, Any]) -> None:
    assert kind.model_validate(example).model_dump(exclude_unset=True) == example


def test_every_body_has_an_example() -> None:
    assert {"NewTarget", "TargetChanges", "AlgorithmChoice"} <= {str(each.id) for each in EXAMPLES}


URL = {"url": "http://127.0.0.1:9004"}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (NewTarget, {}),
        (NewTarget, {"url": ""}),
        (NewTarget, {"url": 7}),
        (NewTarget, {"url": "u" * 1025}),
        (NewTarget, {**URL, "name": ""}),
        (NewTarget, {**URL, "name": None}),
        (NewTarget, {**URL, "weight": 0}),
        (NewTarget, {**URL, "weight": 1001}),
        (NewTarget, {**URL, "weight": "2"}),
        (NewTarget, {**URL, "weight": 2.0}),
        (NewTarget, {**URL, "weight": True}),
        (NewTarget, {**URL, "max_in_flight": -1}),
        (NewTarget, {**URL, "max_in_flight": 1_000_001}),
        (NewTarget, {**URL, "state": "UP"}),
        (NewTarget, {**URL, "tags": []}),
        (TargetChanges, {"weight": None}),
        (TargetChanges, {"weight": 0}),
        (TargetChanges, {"state": "gone"}),
        (TargetChanges, {"url": "http://127.0.0.1:9004"}),
        (AlgorithmChoice, {}),
        (AlgorithmChoice, {"algorithm": ""}),
        (AlgorithmChoice, {"algorithm": None}),
        (AlgorithmChoice, {"algorithm": "random", "seed": 1}),
        (AlgorithmChoice, []),
    ],
    ids=repr,
)
def test_a_body_that_says_anything_else_is_refused(kind: type[BaseModel], body: object) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate(body)


def test_changes_that_are_not_given_are_not_set() -> None:
    assert TargetChanges.model_validate({"weight": 3}).model_dump(exclude_unset=True) == {"weight": 3}


@pytest.mark.parametrize("kind", [NewTarget, TargetChanges])
def test_a_document_shows_no_null_where_none_is_taken(kind: type[BaseModel]) -> None:
    for field in kind.model_json_schema()["properties"].values():
        assert field.get("default", 0) is not None
        assert field["type"] in {"string", "integer"}

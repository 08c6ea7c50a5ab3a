import msgspec
import pytest

from equipoise.config.edits import AddTarget, ChangeTarget, Edit, RemoveTarget, SetAlgorithm, SetCache, in_words
from equipoise.config.schema import TargetConfig


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (AddTarget("p", TargetConfig("http://a:1", "a")), "target a added to pool p"),
        (AddTarget("p", TargetConfig("http://a:1")), "target http://a:1 added to pool p"),
        (
            ChangeTarget("p", "a", weight=2, state="draining"),
            "target a of pool p changed: weight = 2, state = draining",
        ),
        (ChangeTarget("p", "a"), "target a of pool p changed: nothing"),
        (RemoveTarget("p", "a"), "target a removed from pool p"),
        (SetAlgorithm("p", "random"), "algorithm of pool p is random"),
        (
            SetCache("p", {"enabled": True, "ttl": "30s", "methods": ["GET"]}),
            'cache of pool p changed: enabled = true, ttl = "30s", methods = ["GET"]',
        ),
        (SetCache("p", {}), "cache of pool p changed: nothing"),
    ],
)
def test_an_edit_is_told_in_one_line(edit: Edit, words: str) -> None:
    assert in_words(edit) == words


def test_a_change_to_zero_is_a_change() -> None:
    assert ChangeTarget("p", "a", max_in_flight=0).values() == {"max_in_flight": 0}


def test_edits_survive_the_way_over_json() -> None:
    edits: list[Edit] = [
        AddTarget("p", TargetConfig("http://a:1")),
        RemoveTarget("p", "a"),
        SetAlgorithm("p", "random"),
        SetCache("p", {"ttl": "30s", "key_headers": ["accept"]}),
    ]
    assert msgspec.json.decode(msgspec.json.encode(edits), type=list[Edit]) == edits

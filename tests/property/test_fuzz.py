"""Every fuzz target holds for its kept inputs and a bounded number of mutations, the same ones each time."""

import importlib.util
from random import Random

import pytest
from fuzz import corpus, engine
from fuzz.engine import Budget, mutations, run_blind, run_guided
from fuzz.targets import TARGETS

# What one target may take, in seconds of an idle core, interpreted.
SHARE_S = 0.6


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_for_the_corpus_and_what_is_made_of_it(name: str) -> None:
    target = TARGETS[name]
    runs = max(len(corpus.load(name)) + 20, int(target.runs * SHARE_S))
    assert run_blind(name, target.check, target.longest, Budget(runs=runs), seed=1).executions == runs


def test_every_target_has_inputs_and_every_file_of_inputs_its_target() -> None:
    assert {path.stem for path in corpus.FOLDER.iterdir()} == set(TARGETS)
    assert [name for name in TARGETS if not corpus.load(name)] == []


def test_the_same_seed_makes_the_same_inputs_and_another_one_others() -> None:
    inputs = corpus.load("date")

    def some(seed: int) -> list[bytes]:
        made = mutations(inputs, Random(seed), 64)
        return [next(made) for _ in range(200)]

    assert some(1) == some(1)
    assert len(set(some(1)) - set(some(2))) > 100
    assert max(map(len, some(1))) <= 64


def test_a_finding_names_its_target_and_its_input() -> None:
    def fails(data: bytes) -> None:
        assert b"1994" not in data

    with pytest.raises(AssertionError) as caught:
        run_blind("date", fails, 64, Budget(runs=100), seed=1)
    assert caught.value.__notes__ == ["target date, input b'Sun, 06 Nov 1994 08:49:37 GMT'"]


def test_an_input_that_takes_too_long_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SLOW_S", 0.0)
    with pytest.raises(TimeoutError, match="of the processor") as caught:
        run_blind("date", lambda _data: None, 64, Budget(runs=100), seed=1)
    assert caught.value.__notes__ == ["target date, input b'Sun, 06 Nov 1994 08:49:37 GMT'"]


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="not installed: atheris")
def test_a_guided_run_sees_the_coverage_of_what_it_runs(compiled: bool) -> None:
    if compiled:
        pytest.skip("about the plain files, whichever mode this run tests")
    outcome = run_guided("range", 64, Budget(runs=500), seed=1)
    assert (outcome.finding, outcome.executions >= 500) == ("", True)
    assert outcome.edges > 10

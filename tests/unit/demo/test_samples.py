from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.demo.samples import Window, deviations, load, mean, smooth, spreads

ALL = Window(0, 1000)


def test_loading_leaves_out_a_line_torn_by_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "samples"
    path.write_text(
        '{"t_ms":50,"in_flight":3}\n{"t_ms":100,"in_f{"t_ms":150,"in_flight":4}\n{"t_ms":200,"in_flight":5}\n'
    )
    assert load(path) == {50: 3, 200: 5}


def test_the_end_of_a_window_does_not_belong_to_it() -> None:
    assert Window(50, 150).cut({0: 1, 50: 2, 100: 3, 150: 4}) == [2, 3]


def test_the_mean_without_samples_is_none() -> None:
    assert mean({2000: 5}, ALL) is None


def test_deviations_are_shares_of_the_mean_of_all() -> None:
    found = deviations({"a": {0: 9}, "b": {0: 11}}, ALL)
    assert found == pytest.approx({"a": -0.1, "b": 0.1})


def test_there_are_no_deviations_when_a_target_has_no_samples() -> None:
    assert deviations({"a": {0: 9}, "b": {}}, ALL) == {}


def test_the_spread_is_taken_at_ticks_that_all_targets_have() -> None:
    assert spreads([{0: 5, 50: 6}, {0: 8, 100: 1}], ALL) == [(0, 3)]


def test_no_targets_have_no_spread() -> None:
    assert spreads([], ALL) == []


def test_smoothing_does_not_average_over_a_gap() -> None:
    points = [(0, 10.0), (50, 10.0), (1000, 0.0), (1050, 0.0)]
    assert smooth(points, 400, gap_ms=200) == [(0, 10.0), (50, 10.0), (51, None), (1000, 0.0), (1050, 0.0)]


@given(st.lists(st.integers(0, 100), min_size=1, max_size=60), st.integers(50, 2000))
def test_a_smoothed_value_is_the_mean_of_its_neighbourhood(values: list[int], width: int) -> None:
    points = [(50 * number, float(value)) for number, value in enumerate(values)]
    for tick, smoothed in smooth(points, width, gap_ms=200):
        near = [value for at, value in points if tick - width // 2 <= at <= tick + width // 2]
        assert smoothed == pytest.approx(sum(near) / len(near))

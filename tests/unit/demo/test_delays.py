from random import Random

import pytest

from equipoise.demo.delays import Delays, Jitter


@pytest.mark.parametrize("jitter", list(Jitter))
def test_every_shape_keeps_the_mean(jitter: Jitter) -> None:
    delays = Delays(100.0, jitter, Random(1))
    drawn = [delays.draw() for _ in range(20_000)]
    assert sum(drawn) / len(drawn) == pytest.approx(100.0, rel=0.02)


@pytest.mark.parametrize("jitter", [Jitter.UNIFORM, Jitter.LOGNORMAL])
def test_a_jittered_delay_varies_widely(jitter: Jitter) -> None:
    delays = Delays(100.0, jitter, Random(1))
    drawn = sorted(delays.draw() for _ in range(1000))
    assert drawn[900] > 1.5 * drawn[100]


@pytest.mark.parametrize("jitter", list(Jitter))
def test_a_mean_of_zero_is_no_delay(jitter: Jitter) -> None:
    assert Delays(0.0, jitter, Random(1)).draw() == 0.0


def test_the_same_seed_draws_the_same_delays() -> None:
    one, other = (Delays(50.0, Jitter.LOGNORMAL, Random(7)) for _ in range(2))
    assert [one.draw() for _ in range(10)] == [other.draw() for _ in range(10)]

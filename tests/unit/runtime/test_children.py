import signal

import pytest

from equipoise.runtime.children import SIGNALS, explain, signals_blocked


def test_no_signal_arrives_while_a_process_is_started() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with signals_blocked():
        assert set(SIGNALS) <= signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


@pytest.mark.parametrize(
    ("code", "said"), [(0, {"exit_code": 0}), (3, {"exit_code": 3}), (-9, {"signal": "SIGKILL"}), (-99, {"signal": 99})]
)
def test_an_end_is_explained(code: int, said: dict[str, object]) -> None:
    assert explain(code) == said

import pytest
from benchmarks.sanity import mode_in


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("2026-11-22T10:00:00Z [info     ] starting   compiled=True pid=7 version=0.1.0", "compiled"),
        ("2026-11-22T10:00:00Z [info     ] starting   compiled=False pid=7 version=0.1.0", "interpreted"),
        ('{"event": "starting", "compiled": true}', "compiled"),
        ('{"event": "starting", "compiled": false}', "interpreted"),
        ("\x1b[36mcompiled\x1b[0m=\x1b[35mFalse\x1b[0m", "interpreted"),
        ("equipoise 0.1.0 (compiled)", "compiled"),
        ("INTERPRETED: the data path is not compiled", "interpreted"),
        ("listening", ""),
    ],
)
def test_the_mode_is_read_from_what_equipoise_said(text: str, mode: str) -> None:
    assert mode_in(text) == mode

import pytest
from benchmarks.__main__ import main


def test_an_unknown_row_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--row", "ngnix", "--no-save"]) == 2
    assert "no such row: ngnix" in capsys.readouterr().err


def test_a_build_without_a_path_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--equipoise", "before", "--no-save"]) == 2
    assert "--equipoise takes NAME=VALUE" in capsys.readouterr().err

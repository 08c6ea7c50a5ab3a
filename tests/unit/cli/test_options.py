import sys
from pathlib import Path

import pytest

from equipoise.cli.options import allow_own_modules, print_problems
from equipoise.config.problems import Problem


def test_a_problem_of_the_whole_file_begins_with_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    print_problems([Problem("", "is bad", 3), Problem("a.b", "is worse", 4), Problem("c", "is lost")], Path("x.toml"))
    assert capsys.readouterr().err == "x.toml (line 3): is bad\na.b (line 4): is worse\nc: is lost\n"


def test_modules_of_the_current_directory_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["/first"])
    allow_own_modules()
    allow_own_modules()
    assert sys.path == ["/first", str(tmp_path)]

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from equipoise.cli.app import app

GOOD = 'listen = "0.0.0.0:8080"\n[pools.default]\ntargets = ["http://10.0.0.1:9001", "http://10.0.0.2:9001"]\n'


def check(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments], env={"EQUIPOISE_CONFIG": None, **env})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_a_good_file_is_summed_up_in_one_line(folder: Path) -> None:
    result = check("-c", write(folder / "a.toml", GOOD))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{folder}/a.toml: good; listens on 0.0.0.0:8080, 1 pool, 2 targets, 0 routes\n"


def test_each_problem_is_a_line_of_standard_error(folder: Path) -> None:
    result = check("--config", write(folder / "a.toml", GOOD + "weight = 3\n[limits]\nidle_timeout = 5\n"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "pools.default.weight (line 4): unknown key",
        'limits.idle_timeout (line 6): 5 must be a duration with a unit, such as "250ms", "5s", "5m" or "1h"',
    ]


def test_a_problem_without_a_line_says_none(folder: Path) -> None:
    result = check("-c", write(folder / "a.toml", "[pools.default]\ntargets = []\n"))
    assert result.stderr == 'listen: is missing; write listen = "0.0.0.0:8080"\n'


def test_a_syntax_error_begins_with_the_name_of_the_file(folder: Path) -> None:
    result = check("-c", write(folder / "a.toml", "a = \n"))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{folder}/a.toml (line 1): not valid TOML: ")


@pytest.mark.usefixtures("folder")
def test_a_missing_file_is_an_error_of_use() -> None:
    result = check("-c", "absent.toml")
    assert (result.exit_code, result.stderr) == (
        2,
        "absent.toml: cannot read absent.toml: No such file or directory\n",
    )


def test_the_file_of_the_current_directory_is_the_default(folder: Path) -> None:
    write(folder / "equipoise.toml", GOOD)
    assert check().stdout.startswith("equipoise.toml: good")


def test_the_environment_names_the_file_before_the_current_directory(folder: Path) -> None:
    write(folder / "equipoise.toml", "broken")
    assert check(EQUIPOISE_CONFIG=write(folder / "b.toml", GOOD)).exit_code == 0


def test_the_option_wins_over_the_environment(folder: Path) -> None:
    result = check("-c", write(folder / "a.toml", GOOD), EQUIPOISE_CONFIG=write(folder / "b.toml", "broken"))
    assert result.exit_code == 0


def test_an_algorithm_of_ones_own_is_found_in_the_current_directory(folder: Path) -> None:
    write(
        folder / "algorithm_beside_the_file.py",
        "from equipoise.policy.balance import RoundRobin\nclass Mine(RoundRobin): pass\n",
    )
    text = GOOD + 'algorithm = "python:algorithm_beside_the_file:Mine"\n'
    assert check("-c", write(folder / "a.toml", text)).stderr == ""


def test_a_key_that_the_admin_api_could_not_use_is_a_problem(folder: Path) -> None:
    (folder / "secret").write_text("short")
    text = GOOD + '[admin.jwt]\nsecret_file = "secret"\n'
    result = check("-c", write(folder / "a.toml", text))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("admin.jwt: the secret in secret has 5 bytes; at least 32 are needed")
    assert check("-c", write(folder / "a.toml", text + "[admin]\nenabled = false\n")).exit_code == 0


def test_a_check_leaves_nothing_behind(folder: Path) -> None:
    check("-c", write(folder / "a.toml", GOOD))
    assert [path.name for path in folder.iterdir()] == ["a.toml"]

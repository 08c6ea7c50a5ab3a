from collections.abc import Mapping
from pathlib import Path

import pytest

from equipoise.config.load import ConfigError, Problem, load, parse
from equipoise.config.schema import Config

ROOT = Path(__file__).parents[3]
MINIMAL = 'listen = "a:1"\n[pools.p]\ntargets = ["http://10.0.0.1:9001"]\n'


def problems(text: str, env: Mapping[str, str] | None = None) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        parse(text, env or {})
    return caught.value.problems


def state_dir(value: str, **env: str) -> str:
    return parse(f'state_dir = "{value}"\n{MINIMAL}', env).state_dir


@pytest.mark.parametrize("name", ["minimal", "full"])
def test_the_examples_are_good(name: str) -> None:
    assert isinstance(load(ROOT / "examples" / name / "equipoise.toml", {}), Config)


def test_a_target_without_a_name_is_called_by_host_and_port() -> None:
    text = 'listen = "a:1"\n[pools.p]\ntargets = ["http://web", "http://[::1]:81"]'
    assert [target.name for target in parse(text, {}).pools["p"].targets] == ["web:80", "[::1]:81"]


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*absent\.toml: No such file or directory"):
        load(tmp_path / "absent.toml")


def test_a_folder_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path)


def test_a_file_that_is_not_utf_8_is_a_problem_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b"# one\n# caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert [(problem.path, problem.line) for problem in caught.value.problems] == [("", 2)]


def test_a_syntax_error_has_line_and_column() -> None:
    (problem,) = problems('listen = "a:1"\nworkers = = 3\n')
    assert (problem.path, problem.line) == ("", 2)
    assert problem.message.endswith("column 11")


def test_a_syntax_error_at_the_end_has_no_line() -> None:
    (problem,) = problems('listen = """')
    assert problem.line is None
    assert problem.message.startswith("not valid TOML")


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * 5000 + "]" * 5000, "a = " + "9" * 5000, ".".join(["a"] * 3_000) + " = 1"],
    ids=["nested", "digits", "dots"],
)
def test_a_hostile_text_is_a_problem_and_no_crash(text: str) -> None:
    assert len(problems(text)) == 1


def test_problems_have_their_lines_and_the_order_of_the_file() -> None:
    found = problems('workers = 0\nlisten = "a:1"\n[pools.p]\ntargets = [\n"http://a",\n"b"]\nx = 1\n')
    assert [(problem.path, problem.line) for problem in found] == [
        ("workers", 1),
        ("pools.p.targets[1]", 6),
        ("pools.p.x", 7),
    ]


def test_a_missing_key_has_the_line_of_its_table() -> None:
    (problem,) = problems('listen = "a:1"\n\n[pools.p]\n')
    assert (problem.path, problem.line) == ("pools.p.targets", 3)


def test_what_stands_nowhere_has_no_line() -> None:
    (problem,) = problems("[pools.p]\ntargets = []\n")
    assert (problem.path, problem.line) == ("listen", None)


def test_a_variable_is_expanded() -> None:
    assert state_dir("/var/${NAME}/x${NAME}", NAME="eq") == "/var/eq/xeq"


def test_what_a_variable_holds_is_not_expanded_again() -> None:
    assert state_dir("${A}", A="${B}", B="x") == "${B}"


def test_two_dollars_stand_for_one() -> None:
    assert state_dir("$${A} $A $ {A}", A="x") == "${A} $A $ {A}"


def test_an_empty_variable_is_set() -> None:
    assert parse('admin.jwt.issuer = "${A}"\n' + MINIMAL, {"A": ""}).admin.jwt.issuer == ""


def test_a_missing_variable_is_a_problem_with_its_place() -> None:
    (problem,) = problems('listen = "a:1"\n[pools.p]\ntargets = [\n"http://${NOPE}:1"]\n')
    assert (problem.path, problem.line) == ("pools.p.targets[0]", 4)
    assert problem.message == "the environment variable NOPE is not set"


@pytest.mark.parametrize("value", ["${", "${}", "${A", "${1}", "${a b}", "${A-x}", "${é}"])
def test_a_malformed_reference_is_a_problem(value: str) -> None:
    (problem,) = problems(f'state_dir = "{value}"\n{MINIMAL}', {"A": "x"})
    assert (problem.path, problem.line) == ("state_dir", 1)


def test_a_value_from_the_environment_is_not_shown() -> None:
    (problem,) = problems('listen = "${A}"\n[pools.p]\ntargets = []\n', {"A": "s3cret"})
    assert "s3cret" not in str(problem)


def test_keys_are_not_expanded() -> None:
    found = problems(MINIMAL + '["${A}"]\n', {"A": "limits"})
    assert [problem.path for problem in found] == ['"${A}"']


@pytest.mark.parametrize(
    ("env", "expected"),
    [({}, "./.equipoise"), ({"STATE_DIRECTORY": "/var/lib/eq"}, "/var/lib/eq"), ({"STATE_DIRECTORY": "/a:/b"}, "/a")],
)
def test_the_state_directory_comes_from_the_service_manager_or_lies_here(env: dict[str, str], expected: str) -> None:
    assert parse(MINIMAL, env).state_dir == expected


def test_the_state_directory_of_the_file_wins() -> None:
    assert state_dir("/mine", STATE_DIRECTORY="/var/lib/eq") == "/mine"


def test_a_stand_in_starts_no_second_problem() -> None:
    found = problems('listen = 3\npools = 3\nroutes = 3\nadmin.jwt.algorithm = "none"\n')
    assert [problem.path for problem in found] == ["listen", "pools", "routes", "admin.jwt.algorithm"]

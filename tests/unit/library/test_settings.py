import datetime as dt
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.config.load import ConfigError, load
from equipoise.config.schema import Config
from equipoise.library.settings import Configuration, settle, toml

EXAMPLES = Path(__file__).parents[3] / "examples"
POOLS = {"default": {"targets": ["http://127.0.0.1:9001"]}}
TEXT = '[pools.default]\ntargets = ["http://127.0.0.1:9001"]\n'


def problems(configuration: Configuration, folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settle(configuration, folder)
    return [str(problem) for problem in caught.value.problems]


# What it is given in


def test_a_table_a_text_a_path_and_a_value_say_the_same(tmp_path: Path) -> None:
    file = tmp_path / "some.toml"
    file.write_text(TEXT)
    read = settle({"pools": POOLS}, tmp_path).config
    forms: list[Configuration] = [TEXT, file, str(file), read]
    assert [settle(form, tmp_path).config for form in forms] == [read] * 4


def test_the_file_that_is_made_says_what_was_settled(tmp_path: Path) -> None:
    settings = settle(EXAMPLES / "full" / "equipoise.toml", tmp_path)
    file = tmp_path / "made.toml"
    file.write_text(settings.text)
    assert load(file) == settings.config


def test_a_text_may_name_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "http://127.0.0.1:7")
    config = settle('[pools.default]\ntargets = ["${WHERE}"]\n', tmp_path).config
    assert config.pools["default"].targets[0].url == "http://127.0.0.1:7"


def test_a_value_that_was_read_already_is_not_expanded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME_OF_LINES", "wrong")
    read = settle({"pools": POOLS, "access_log": {"path": "$${HOME_OF_LINES}"}}, tmp_path).config
    assert read.access_log.path == "${HOME_OF_LINES}"
    assert settle(read, tmp_path).config.access_log.path == "${HOME_OF_LINES}"


def test_something_else_is_refused_by_its_type(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="this is a list"):
        settle([], tmp_path)  # type: ignore[arg-type]


# What it leaves open


def test_what_is_left_open_suits_a_program(tmp_path: Path) -> None:
    config = settle({"pools": POOLS}, tmp_path).config
    assert (config.listen, config.admin.listen) == (("127.0.0.1:0",), "127.0.0.1:0")
    assert (config.workers, config.limits.drain_timeout) == (1, 5.0)
    assert config.state_dir == str(tmp_path / "state")


def test_what_is_said_stays(tmp_path: Path) -> None:
    said = {"listen": "0.0.0.0:81", "workers": 3, "state_dir": "s", "admin": {"listen": "127.0.0.1:82"}, "pools": POOLS}
    config = settle({**said, "limits": {"drain_timeout": "9s"}}, tmp_path).config
    assert (config.listen, config.admin.listen) == (("0.0.0.0:81",), "127.0.0.1:82")
    assert (config.workers, config.limits.drain_timeout, config.state_dir) == (3, 9.0, "s")


def test_only_listeners_need_no_listen_beside_them(tmp_path: Path) -> None:
    config = settle({"listeners": [{"address": "127.0.0.1:83"}], "pools": POOLS}, tmp_path).config
    assert (config.listen, [each.address for each in config.listeners]) == ((), ["127.0.0.1:83"])


def test_all_ports_can_be_left_to_the_system(tmp_path: Path) -> None:
    said = {
        "listen": ["0.0.0.0:81", "[::]:81"],
        "listeners": [{"address": "10.0.0.1:443"}],
        "admin": {"listen": "10.0.0.1:82"},
        "pools": POOLS,
    }
    config = settle(said, tmp_path, free_ports=True).config
    assert {*config.listen, config.listeners[0].address, config.admin.listen} == {"127.0.0.1:0"}
    assert len(config.listen) == 2


def test_the_table_that_was_given_is_left_as_it_was(tmp_path: Path) -> None:
    given = {"pools": POOLS, "admin": {"max_body": "1KiB"}}
    settle(given, tmp_path, free_ports=True)
    assert given == {"pools": POOLS, "admin": {"max_body": "1KiB"}}


# What is wrong with it


def test_every_problem_of_a_text_is_named_with_its_place_and_line(tmp_path: Path) -> None:
    text = TEXT + 'algoritm = "random"\n[limits]\nconnections = -1\n'
    assert problems(text, tmp_path) == [
        'pools.default.algoritm (line 3): unknown key; did you mean "algorithm"?',
        "limits.connections (line 5): must be a whole number from 0 to 10000000, not -1",
    ]


def test_the_problems_of_a_table_have_places_and_no_lines(tmp_path: Path) -> None:
    assert problems({"pools": {"default": {}}}, tmp_path) == ["pools.default.targets: is missing"]


@pytest.mark.parametrize("wrong", [{"admin": 3}, {"limits": []}, {"listen": 5}, {"listeners": {}}, {"listeners": [1]}])
@pytest.mark.parametrize("free_ports", [False, True])
def test_a_value_of_a_wrong_type_is_left_to_the_check(wrong: dict[str, Any], free_ports: bool, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        settle({"pools": POOLS, **wrong}, tmp_path, free_ports=free_ports)


def test_a_text_that_is_no_toml_is_refused_at_its_line(tmp_path: Path) -> None:
    assert problems("listen = \n", tmp_path) == ["file (line 1): not valid TOML: Invalid value, column 10"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.toml", tmp_path) == [
        f"cannot read {tmp_path}/none.toml: No such file or directory"
    ]
    (tmp_path / "latin.toml").write_bytes(b"# \xe4\n")
    assert problems(tmp_path / "latin.toml", tmp_path) == [f"{tmp_path}/latin.toml is not UTF-8"]


def test_certificates_are_looked_at_before_anything_starts(tmp_path: Path) -> None:
    tls = {"certificate_file": "none.pem", "key_file": "none.key"}
    found = problems({"listeners": [{"address": "127.0.0.1:0", "tls": tls}], "pools": POOLS}, tmp_path)
    assert found[0] == "listeners[0].tls.certificate_file: cannot read none.pem: No such file or directory"


# TOML

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXTS | st.dates()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20)


@given(st.dictionaries(TEXTS, VALUES))
def test_what_is_written_as_toml_reads_back_to_the_same(table: dict[str, Any]) -> None:
    assert tomllib.loads(toml(table)) == table


def test_paths_tuples_and_times_have_a_form() -> None:
    noon = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
    written = toml({"path": Path("a") / "b", "pair": (1, 2), "noon": noon})
    assert tomllib.loads(written) == {"path": "a/b", "pair": [1, 2], "noon": noon}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"pools": {"a": None}}, "pools.a is None, which TOML has no form for; leave the key out"),
        ({"pools": [{}, {"b": b"x"}]}, r"pools\[1\].b is a bytes, which TOML has no form for"),
        ({"limits": {3: 4}}, "limits has the key 3; keys are strings"),
        ({3: 4}, "the table has the key 3; keys are strings"),
        ({"a": "\ud800"}, "a holds half of a surrogate pair"),
    ],
)
def test_what_has_no_form_is_refused_at_its_place(table: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        toml(table)


def test_a_path_of_bytes_is_refused() -> None:
    class Bytes(os.PathLike[bytes]):
        def __fspath__(self) -> bytes:
            return b"x"

    with pytest.raises(TypeError, match="a path of bytes"):
        toml({"a": Bytes()})


def test_a_config_is_taken_as_it_is(tmp_path: Path) -> None:
    config = settle({"pools": POOLS}, tmp_path).config
    assert isinstance(config, Config)
    assert settle(config, tmp_path / "elsewhere").config.state_dir == str(tmp_path / "state")

from collections.abc import Mapping

import pytest

from equipoise.config.decode import Expanded, decode, plain, shown
from equipoise.config.problems import Place
from equipoise.config.schema import Config, PoolConfig, TargetConfig


def read(data: Mapping[str, object]) -> tuple[Config, list[tuple[Place, str]]]:
    found: list[tuple[Place, str]] = []
    return decode(data, lambda place, message: found.append((place, message))), found


def problem(data: Mapping[str, object]) -> tuple[Place, str]:
    """The one problem of a file."""
    _, found = read(data)
    assert len(found) == 1, found
    return found[0]


def pool(**keys: object) -> dict[str, object]:
    return {"pools": {"p": {"targets": [], **keys}}}


def test_an_empty_table_is_all_defaults() -> None:
    assert read({}) == (Config(), [])


def test_one_value_stands_for_a_list_of_one() -> None:
    assert read({"listen": "[::]:80"})[0].listen == ("[::]:80",)


def test_a_url_stands_for_a_target() -> None:
    config, found = read({"pools": {"p": {"targets": ["http://a", {"url": "http://b", "weight": 2}]}}})
    assert (config.pools["p"].targets, found) == ((TargetConfig("http://a"), TargetConfig("http://b", weight=2)), [])


def test_an_unknown_key_names_the_nearest() -> None:
    assert problem(pool(algoritm=1)) == (("pools", "p", "algoritm"), 'unknown key; did you mean "algorithm"?')


def test_an_unknown_key_far_from_all_names_none() -> None:
    assert problem({"zzz": 1}) == (("zzz",), "unknown key")


def test_a_required_key_is_missed() -> None:
    assert problem({"pools": {"p": {}}}) == (("pools", "p", "targets"), "is missing")


def test_every_problem_is_reported() -> None:
    config, found = read({"workers": 0, "zzz": 1, "pools": {"p": {"targets": [3, {"weight": 0, "url": "x"}]}}})
    assert [place for place, _ in found] == [
        ("workers",),
        ("zzz",),
        ("pools", "p", "targets", 0),
        ("pools", "p", "targets", 1, "weight"),
        ("pools", "p", "targets", 1, "url"),
    ]
    assert len(config.pools["p"].targets) == 2  # stand-ins keep the places of what follows


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"workers": True}, 'must be "auto" or a whole number from 1 to 64, not true'),
        ({"workers": 65}, 'must be "auto" or a whole number from 1 to 64, not 65'),
        ({"workers": 1.0}, 'must be "auto" or a whole number from 1 to 64, not 1.0'),
        ({"workers": "4"}, 'must be "auto" or a whole number from 1 to 64, not "4"'),
        (pool(panic=1), "must be true or false, not 1"),
        (pool(retry={"budget": float("nan")}), "must be a number from 0 to 1, not nan"),
        (pool(retry={"budget": "0.1"}), 'must be a number from 0 to 1, not "0.1"'),
        (pool(retry={"buffer": "1GiB"}), 'must be from 0 to 64MiB, not "1GiB"'),
        (pool(health={"interval": "1ms"}), 'must be from 50ms to 1h, not "1ms"'),
        (pool(health={"type": "htpp"}), 'must be one of "grpc", "http", "none", "tcp", not "htpp"'),
        (pool(health=[]), "must be a table, not a list"),
        (pool(cache={"key_headers": 3}), 'must be "all" or a list, not 3'),
        ({"routes": {}}, "must be a list, not a table"),
        ({"pools": []}, "must be a table, not a list"),
        ({"access_log": {"path": ""}}, 'must be a string that is not empty, not ""'),
        ({"state_dir": 3}, "must be a string, not 3"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_what_is_wanted(data: dict[str, object], message: str) -> None:
    assert problem(data)[1] == message


def test_a_table_that_may_be_left_out_is_a_table_when_it_is_there() -> None:
    place, message = problem({"listeners": [{"address": "a:1", "tls": True}]})
    assert (place, message) == (("listeners", 0, "tls"), "must be a table, not true")


def test_an_expanded_string_may_be_a_number_or_a_truth_value() -> None:
    data = {"workers": Expanded("3"), **pool(panic=Expanded("true"), retry={"budget": Expanded("0.5")})}
    config, found = read(data)
    assert (config.workers, config.pools["p"].panic, config.pools["p"].retry.budget, found) == (3, True, 0.5, [])


@pytest.mark.parametrize("text", ["1_0", "+5", " 5", "５", "", "0x5", "5.0"])
def test_an_expanded_number_is_read_strictly(text: str) -> None:
    assert problem({"workers": Expanded(text)})[0] == ("workers",)


def test_an_expanded_string_becomes_a_plain_one() -> None:
    config, _ = read({"state_dir": Expanded("x"), "listen": Expanded("a:1")})
    assert type(config.state_dir) is str
    assert type(config.listen[0]) is str


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\x1b[31m\n", '"a\\u001b[31m\\n"'),
        ("a" * 100, f'"{"a" * 60}..."'),
        ("http://me:secret@web", "the value"),
        (Expanded("secret"), "the value"),
        (True, "true"),
        (3, "3"),
        pytest.param(10**5000, "the number", id="huge"),
        (float("inf"), "inf"),
        ([1], "a list"),
        ({}, "a table"),
    ],
)
def test_a_message_shows_a_value_short_and_without_secrets(value: object, text: str) -> None:
    assert shown(value) == text


def test_plain_is_what_the_file_could_say() -> None:
    config = Config(listen=("a:1",), pools={"p": PoolConfig(targets=(TargetConfig("http://a", "a"),))})
    data = plain(config)
    assert isinstance(data, dict)
    assert read(data) == (config, [])

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from equipoise.cli.completion import rejoin_words
from tests.scenarios.support.polling import eventually
from tests.support.admin_api import ScriptedApi, status, target


@pytest.fixture(autouse=True)
def names(api: ScriptedApi) -> None:
    """Two pools."""
    found = status(web=[target("127.0.0.1:9001"), target("127.0.0.1:9002")], images=[target("blue", health="down")])
    api.says("GET /v1/status", found)
    api.says("GET /v1/algorithms", {"algorithms": [{"name": "random", "promise": "a: b"}, {"name": "round_robin"}]})


def completed(folder: Path, shell: str, **variables: str) -> list[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("EQUIPOISE_", "_EQUIPOISE_"))}
    env |= {"_EQUIPOISE_COMPLETE": f"complete_{shell}", "PYTHONPATH": os.pathsep.join(map(os.path.abspath, paths()))}
    command = [sys.executable, "-m", "equipoise"]
    done = subprocess.run(
        command, cwd=folder, env=env | variables, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == ""
    return [line for line in done.stdout.split("\n") if line]


def paths() -> list[str]:
    return [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]


def in_fish(folder: Path, url: str, line: str) -> list[str]:
    """Each candidate with its help, a tab between them."""
    variables = {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": f"equipoise {line}"}
    return completed(folder, "fish", EQUIPOISE_ADMIN=url, EQUIPOISE_TOKEN="t", **variables)


@pytest.mark.parametrize(
    ("line", "candidates"),
    [
        ("algorithm --pool ", ["web\tleast_in_flight", "images\tleast_in_flight"]),
        ("algorithm --pool w", ["web\tleast_in_flight"]),
        ("algorithm r", ["random\ta: b", "round_robin"]),
        ("targets drain ", ["127.0.0.1:9001\tup", "127.0.0.1:9002\tup", "blue\tdown"]),
        ("targets remove --pool images ", ["blue\tdown"]),
        ("targets set nobody", []),
    ],
)
def test_names_come_from_the_balancer(api: ScriptedApi, tmp_path: Path, line: str, candidates: list[str]) -> None:
    eventually(lambda: in_fish(tmp_path, api.url, line), lambda found: found == candidates)


def test_the_address_on_the_line_is_the_one_that_is_asked(api: ScriptedApi, tmp_path: Path) -> None:
    line = f"algorithm --admin {api.url} --pool w"
    eventually(lambda: in_fish(tmp_path, "http://127.0.0.1:1", line), lambda found: found == ["web\tleast_in_flight"])


@pytest.mark.parametrize("kind", ["nobody", "silent", "no address", "refusing"])
def test_without_an_answer_there_is_silence(api: ScriptedApi, tmp_path: Path, kind: str) -> None:
    api.refuses("GET /v1/status", 401, "token expired")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        urls = {"nobody": "http://127.0.0.1:1", "silent": f"http://127.0.0.1:{port}", "no address": "ftp://"}
        assert in_fish(tmp_path, urls.get(kind, api.url), "targets drain ") == []


# Bash takes words apart at colons


@pytest.mark.parametrize(
    ("words", "at", "joined", "prefix"),
    [
        (["equipoise", "targets", "drain", "127.0.0.1", ":", "90"], 5, ["equipoise", "targets", "drain", "90"], 1),
        (["equipoise", "targets", "drain", "127.0.0.1", ":"], 4, ["equipoise", "targets", "drain", ""], 1),
        (["equipoise", "targets", "drain", "127."], 3, ["equipoise", "targets", "drain", "127."], 0),
        (["equipoise", "targets", "drain"], 3, ["equipoise", "targets", "drain", ""], 0),
    ],
)
def test_what_bash_took_apart_is_joined(words: list[str], at: int, joined: list[str], prefix: int) -> None:
    environ = {"_EQUIPOISE_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(words), "COMP_CWORD": str(at)}
    rejoin_words(environ)
    assert environ["COMP_WORDS"].split("\n") == joined
    assert environ["COMP_CWORD"] == str(len(joined) - 1)
    assert environ["_EQUIPOISE_COMPLETE_PREFIX"] == "127.0.0.1:" * prefix


def test_a_whole_address_before_the_cursor_is_one_word() -> None:
    words = ["equipoise", "targets", "set", "127.0.0.1", ":", "9001", "--pool", "w"]
    environ = {"_EQUIPOISE_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(words), "COMP_CWORD": "7"}
    rejoin_words(environ)
    assert environ["COMP_WORDS"].split("\n") == ["equipoise", "targets", "set", "127.0.0.1:9001", "--pool", "w"]


@pytest.mark.parametrize(
    "environ",
    [{}, {"_EQUIPOISE_COMPLETE": "complete_fish"}, {"_EQUIPOISE_COMPLETE": "complete_bash", "COMP_CWORD": "x"}],
)
def test_other_environments_are_left_alone(environ: dict[str, str]) -> None:
    before = dict(environ)
    rejoin_words(environ)
    assert environ == before


@pytest.mark.parametrize("cut", ["127.0.0.1\n:\n90", "127.0.0.1\n:"])
def test_bash_gets_what_stands_behind_the_colon(api: ScriptedApi, tmp_path: Path, cut: str) -> None:
    words = f"equipoise\ntargets\ndrain\n{cut}"
    env = {
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count("\n")),
        "EQUIPOISE_ADMIN": api.url,
        "EQUIPOISE_TOKEN": "t",
    }
    eventually(lambda: completed(tmp_path, "bash", **env), lambda found: found == ["9001", "9002"])


def test_the_shell_is_given_a_script_of_its_own() -> None:
    command = ["bash", "-c", f"{sys.executable} -m equipoise --show-completion; exit $?"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert "complete -o default -F _equipoise_completion equipoise" in done.stdout, done.stderr

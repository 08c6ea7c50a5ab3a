"""A `docker` that does nothing but write down what it was asked, for scripts that call it.

Owns: the program on the PATH, what it was asked, which questions it fails or answers.
Refuses to know: the scripts.

A real Docker is not to be had where the tests run, and what the scripts promise is the order of their questions.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PROGRAM = """\
#!{python}
import json, os, sys
here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
words = sys.argv[1:]
# `compose --file FILE up` is asked as `compose up`.
if words[:2] == ["compose", "--file"]:
    words = ["compose", *words[3:]]
said = "" if sys.stdin.isatty() or words[0] != "login" else sys.stdin.read()
environment = {{name: os.environ.get(name) for name in ("EQUIPOISE_IMAGE", "CONFIG")}}
with open(here + "/calls", "a") as file:
    file.write(json.dumps({{"words": words, "input": said, "environment": environment}}) + "\\n")
for rule in json.load(open(here + "/rules")):
    if words[:len(rule["words"])] == rule["words"] and rule["image"] in (None, environment["EQUIPOISE_IMAGE"]):
        sys.stdout.write(rule["says"])
        sys.exit(rule["code"])
"""


class FakeDocker:
    """The program and its memory."""

    def __init__(self, folder: Path) -> None:
        """Makes it in a folder of its own; it answers everything with success and silence."""
        self._folder = folder
        self._rules: list[dict[str, Any]] = []
        program = folder / "bin" / "docker"
        program.parent.mkdir()
        program.write_text(_PROGRAM.format(python=sys.executable))
        program.chmod(0o755)

    def fails(self, words: str, image: str | None = None) -> None:
        """What begins with these words fails; with `image`, only while that one is deployed."""
        self._rules.append({"words": words.split(), "image": image, "says": "", "code": 1})

    def says(self, words: str, text: str) -> None:
        """What begins with these words is answered so."""
        self._rules.append({"words": words.split(), "image": None, "says": text, "code": 0})

    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
        """Runs a script to which this is `docker`, and in whose environment there is nothing else."""
        (self._folder / "rules").write_text(json.dumps(self._rules))
        path = f"{self._folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            command, env={**environment, "PATH": path}, capture_output=True, text=True, timeout=50, check=False
        )

    def calls(self, words: str = "") -> list[list[str]]:
        """What it was asked, in order; only what begins with these words."""
        asked = [call["words"] for call in self._memory()]
        return [call for call in asked if call[: len(words.split())] == words.split()]

    def images(self, words: str) -> list[str]:
        """Which image was to be deployed when these words were said."""
        given = words.split()
        found = [call for call in self._memory() if call["words"][: len(given)] == given]
        return [str(call["environment"]["EQUIPOISE_IMAGE"]) for call in found]

    def input_of(self, words: str) -> str:
        """What the first question that begins with these words was given on its standard input."""
        given = words.split()
        return str(next(call["input"] for call in self._memory() if call["words"][: len(given)] == given))

    def _memory(self) -> list[dict[str, Any]]:
        path = self._folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

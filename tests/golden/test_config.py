"""Golden pairs: a configuration, and its normalised form (.json) or its problems (.txt).

Owns: what users see of the configuration as a whole, word by word.
Refuses to know: why it is so; the unit tests say it.
"""

import json
from pathlib import Path

import pytest

from equipoise.config.decode import decode, plain
from equipoise.config.load import ConfigError, load

FOLDER = Path(__file__).parent / "config"
ENV = {"HOST": "127.0.0.1", "PORT": "9001", "WORKERS": "3", "PANIC": "true", "BUDGET": "0.5", "WEIGHT": "7"}
NAMES = sorted(path.stem for path in FOLDER.glob("*.toml"))
GOOD = [name for name in NAMES if (FOLDER / f"{name}.json").exists()]
BAD = [name for name in NAMES if name not in GOOD]


def test_each_result_has_its_configuration() -> None:
    assert sorted(path.stem for path in FOLDER.iterdir() if path.suffix in {".json", ".txt"}) == NAMES


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_has_this_normalised_form(name: str) -> None:
    assert plain(load(FOLDER / f"{name}.toml", ENV)) == json.loads((FOLDER / f"{name}.json").read_text())


@pytest.mark.parametrize("name", GOOD)
def test_the_normalised_form_reads_back_to_the_same(name: str) -> None:
    reported: list[str] = []
    read = decode(json.loads((FOLDER / f"{name}.json").read_text()), lambda _, message: reported.append(message))
    assert (reported, read) == ([], load(FOLDER / f"{name}.toml", ENV))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_has_these_problems(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(FOLDER / f"{name}.toml", ENV)
    assert str(caught.value).splitlines() == (FOLDER / f"{name}.txt").read_text().splitlines()

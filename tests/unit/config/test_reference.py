import json
import subprocess
import sys
from pathlib import Path

import pytest

from equipoise.config.decode import plain
from equipoise.config.load import load
from equipoise.config.reference import json_schema, page

ROOT = Path(__file__).parents[3]


def test_the_page_in_the_repository_is_current() -> None:
    committed = (ROOT / "docs/reference/config.md").read_text()
    assert committed == page(), "run: python -m equipoise.config.reference > docs/reference/config.md"


@pytest.mark.parametrize(
    "row",
    [
        '| `interval` | duration, 50ms to 1h | `"2s"` |',
        "| `weight` | whole number, 1 to 1000 | `1` |",
        "| `url` | URL | required |",
        "## `[pools.NAME.health.passive]`",
        "## `[[pools.NAME.targets]]`",
    ],
)
def test_the_page_says_type_range_and_default(row: str) -> None:
    assert row in page()


def test_the_json_schema_speaks_of_what_the_file_holds() -> None:
    health = json_schema()["$defs"]["HealthConfig"]["properties"]
    assert (health["interval"]["type"], health["interval"]["default"]) == ("string", "2s")


def test_the_json_schema_takes_a_url_or_a_table_for_a_target() -> None:
    items = json_schema()["$defs"]["PoolConfig"]["properties"]["targets"]["items"]
    assert items == {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/TargetConfig"}]}


def test_the_json_schema_refuses_unknown_keys_everywhere() -> None:
    assert [name for name, kind in json_schema()["$defs"].items() if kind["additionalProperties"] is not False] == []


def test_the_full_example_has_every_key() -> None:
    """Not TLS at a listener: its files would have to be there, as they are in examples/tls."""
    text = (ROOT / "examples/full/equipoise.toml").read_text()
    keys = {
        key
        for name, kind in json_schema()["$defs"].items()
        if name not in {"Config", "TlsConfig", "CertificateConfig"}
        for key in kind["properties"]
    } - {"targets", "tls", "health", "passive", "retry", "queue", "cache", "jwt"}
    assert sorted(key for key in keys if f"\n{key} = " not in text) == []


def test_the_full_example_names_the_defaults_but_where_it_says_so() -> None:
    full = plain(load(ROOT / "examples/full/equipoise.toml", {}))
    minimal = plain(load(ROOT / "examples/minimal/equipoise.toml", {}))
    assert isinstance(full, dict)
    assert isinstance(minimal, dict)
    assert {key: full[key] for key in ("limits", "access_log", "admin", "workers", "state_dir")} == {
        key: minimal[key] for key in ("limits", "access_log", "admin", "workers", "state_dir")
    }
    web, default = full["pools"]["web"], minimal["pools"]["default"]
    assert {**web["health"], "type": "tcp"} == default["health"]
    assert [web[key] for key in ("retry", "queue", "cache")] == [default[key] for key in ("retry", "queue", "cache")]


@pytest.mark.parametrize(("arguments", "expected"), [([], page()), (["--json"], None)])
def test_the_module_prints_page_and_schema(arguments: list[str], expected: str | None) -> None:
    command = [sys.executable, "-m", "equipoise.config.reference", *arguments]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    assert printed == expected if expected else json.loads(printed) == json_schema()

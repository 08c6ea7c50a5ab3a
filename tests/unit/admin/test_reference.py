import subprocess
import sys
from pathlib import Path

import pytest

from equipoise.admin.app import make_api
from equipoise.admin.reference import page

ROOT = Path(__file__).parents[3]


def test_the_page_in_the_repository_is_current() -> None:
    committed = (ROOT / "docs/reference/admin-api.md").read_text()
    assert committed == page(), "run: python -m equipoise.admin.reference > docs/reference/admin-api.md"


def test_every_call_has_its_section() -> None:
    text = page()
    for path, methods in make_api().openapi()["paths"].items():
        for method in methods:
            assert f"### `{method.upper()} {path}`\n" in text


@pytest.mark.parametrize(
    "row",
    [
        "| `url` | string | Required. ",
        "| `weight` | integer, 1 to 1000 | Its share, relative to the other targets. `1` when not given. |",
        "| `state` | `up`, `draining`, `down` |",
        "| `if-match` | header |",
        "| `force` | query |",
        "Refused with 401, 403, 404, 408, 409, 412, 413, 415, 422, 429, 507.",
    ],
)
def test_the_page_says_what_a_call_takes_and_how_it_is_refused(row: str) -> None:
    assert row in page()


def test_the_module_prints_the_page() -> None:
    command = [sys.executable, "-m", "equipoise.admin.reference"]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == page()

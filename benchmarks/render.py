"""Configuration files from templates.

Owns: the placeholder syntax, `@{name}`, which none of the peers' languages uses (`@@` is an `@`).
Refuses to know: what is in the files.
"""

import string
from pathlib import Path

FOLDER = Path(__file__).parent / "templates"


class _Template(string.Template):
    """`$` belongs to nginx."""

    delimiter = "@"


def render(name: str, **values: str) -> str:
    """The template filled in; a placeholder without a value is an error."""
    return _Template((FOLDER / name).read_text(encoding="utf-8")).substitute(values)

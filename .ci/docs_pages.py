"""The documentation's pages as a site needs them, and as a list for language models.

Owns: what becomes of links that lead out of docs/: the files they lead to come along, under project/.
Refuses to know: how pages look (mkdocs.yml), and what they say.

    docs_pages.py FOLDER    the pages, for the generator
    docs_pages.py --llms    llms.txt, on standard output
    docs_pages.py --needs   what the generator is called in pyproject.toml
"""

import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
LINK = re.compile(r"(\]\(|(?:src|href)=\")(?!\w+:|#)([^)\s\"#]+)")
FENCE = re.compile(r"(^ *```.*?^ *```|`[^`\n]*`)", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"^(?:- |\d+\. )(\[.*)$", re.MULTILINE)


def stage(folder: Path) -> None:
    """Put the pages, and all that they link to, into a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    waiting = sorted(path for path in DOCS.rglob("*") if path.is_file())
    done = set()
    while waiting:
        path = waiting.pop()
        if path in done:
            continue
        done.add(path)
        place = folder / on_site(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            place.write_text(listing(path))
            waiting += files_of(path)
        elif path.suffix == ".md":
            place.write_text(moved(path))
            waiting += [target for _, target in links(path.read_text(), path)]
        else:
            shutil.copyfile(path, place)
    (folder / "llms.txt").write_text(llms())


def on_site(path: Path) -> Path:
    """Where a file is on the site, and for a folder the page that lists it."""
    place = path.relative_to(DOCS) if path.is_relative_to(DOCS) else Path("project") / path.relative_to(ROOT)
    return place / "index.md" if path.is_dir() else place


def moved(path: Path) -> str:
    """A page with its links as they lead on the site."""
    here = on_site(path).parent

    def lead(match: re.Match[str]) -> str:
        target = (path.parent / match[2]).resolve()
        return match[1] + (os.path.relpath(on_site(target), here) if target.exists() else match[2])

    # Code shows links and has none.
    parts = FENCE.split(path.read_text())
    return "".join(part if at % 2 else LINK.sub(lead, part) for at, part in enumerate(parts))


def links(text: str, path: Path) -> Iterator[tuple[str, Path]]:
    """What a page links to, of the files that there are."""
    for part in FENCE.split(text)[::2]:
        for match in LINK.finditer(part):
            target = (path.parent / match[2]).resolve()
            if target.exists():
                yield match[2], target


def files_of(folder: Path) -> list[Path]:
    """The files directly in a folder."""
    return sorted(path for path in folder.iterdir() if path.is_file())


def listing(folder: Path) -> str:
    """A page in the place of a folder."""
    name = folder.relative_to(ROOT)
    return f"# {name}\n\n" + "".join(f"- [{path.name}]({path.name})\n" for path in files_of(folder))


def llms() -> str:
    """The map, docs/index.md, in the form of llms.txt: paths from the top of the project, a line for each page."""

    def lead(match: re.Match[str]) -> str:
        return match[1] + os.path.relpath((DOCS / match[2]).resolve(), ROOT)

    head, *sections = re.split(r"^## ", (DOCS / "index.md").read_text(), flags=re.MULTILINE)
    summary = head.partition("\n")[2].strip()
    lines = ["# Equipoise", "", f"> {summary}", ""]
    lines += ["Configuration is TOML; unknown keys are errors. `equipoise check` names every problem of a file.", ""]
    for section in sections:
        title, _, body = section.partition("\n")
        lines += [f"## {'Optional' if title == 'Decisions' else title}", ""]
        entries = (match[1] for match in ENTRY.finditer(body))
        lines += [f"- {LINK.sub(lead, entry)}" for entry in entries]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def needs() -> str:
    """The generator, at its version."""
    (need,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["docs"]
    return str(need)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--llms"]:
            sys.stdout.write(llms())
        case ["--needs"]:
            sys.stdout.write(needs())
        case [folder]:
            stage(Path(folder).resolve())
        case _:
            sys.exit(__doc__)

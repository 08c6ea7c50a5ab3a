"""What the documentation shows is there: links, configurations, commands, fields, kinds of errors, code."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from equipoise.admin.metrics_reference import METRICS
from equipoise.cli.reference import commands
from equipoise.config.decode import plain
from equipoise.config.load import parse
from equipoise.config.schema import LimitsConfig, QueueConfig
from equipoise.proxy.access_log import FullRecord
from equipoise.proxy.exchange import OUTCOMES
from equipoise.state.ledger import LIMITS
from equipoise.wire import flood

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "src" / "equipoise"
EXAMPLES = ROOT / "examples"
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "benchmarks/README.md")]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [path for path in TOP if path.exists()] + DOCS + sorted(EXAMPLES.rglob("*.md"))

FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)|<(?:img|source|a)\s[^>]*(?:src|srcset|href)=\"([^\"]+)\"")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
TARGETS = 'targets = ["http://127.0.0.1:9001"]'


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return [match[3] for match in FENCE.finditer(path.read_text()) if match[2].partition(" ")[0] == language]


def prose(path: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", path.read_text())


def links(path: Path) -> list[str]:
    """The links of a page that lead to files of ours."""
    text = re.sub(r"`[^`\n]*`", "", prose(path))
    found = [match[1] or match[2] for match in LINK.finditer(text)]
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(path: Path) -> set[str]:
    """What the headings of a page are called in a link, by GitHub's rule."""
    headings = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in HEADING.findall(prose(path))]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def problem(page: Path, link: str) -> str | None:
    """Why a link leads nowhere; None when it leads somewhere."""
    file, _, anchor = link.partition("#")
    target = (page.parent / file).resolve() if file else page
    if not target.exists():
        return f"{link}: no such file"
    if anchor and target.suffix == ".md" and anchor not in anchors(target):
        return f"{link}: no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert [found for link in links(page) if (found := problem(page, link)) is not None] == []


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`\n[a](page.md#one-two) [b](page.md#three) [c](other.md) `[d](e.md)`\n```\n[f](g.md)\n```\n"
    )
    found = [problem(page, link) for link in links(page)]
    assert found == [None, "page.md#three: no such heading", "other.md: no such file"]


def test_every_page_is_on_the_map() -> None:
    index = ROOT / "docs" / "index.md"
    on_map = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert [name(page) for page in DOCS if page != index and page not in on_map] == []


# Configurations


def completed(text: str) -> str:
    """A part of a configuration with what it leaves out; a whole one as it is."""
    top = f"\n{text}".partition("\n[")[0]
    if re.search(r"^listen", top, re.MULTILINE) or "[[listeners]]" in text:
        return text
    missing = "" if "targets" in text else f"pools.default.{TARGETS}\n"
    return f'listen = "127.0.0.1:0"\n{missing}{text}'


# Every configuration that a page shows, whole or a part, by the page's name and its number there.
CONFIGURATIONS = {f"{name(page)}:{i}": text for page in PAGES for i, text in enumerate(blocks(page, "toml"))}
DEFAULTS = {place: text for place, text in CONFIGURATIONS.items() if text.startswith("# The defaults")}


@pytest.mark.parametrize("place", CONFIGURATIONS)
def test_every_configuration_shown_is_good(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in EXAMPLES.iterdir():
        monkeypatch.syspath_prepend(folder)
    parse(completed(CONFIGURATIONS[place]), {})


@pytest.mark.parametrize("place", DEFAULTS)
def test_what_is_called_the_defaults_is_what_is_in_force_without(place: str) -> None:
    without = f'listen = "127.0.0.1:0"\n[pools.default]\n{TARGETS}\n'
    assert plain(parse(completed(DEFAULTS[place]), {})) == plain(parse(without, {}))


def test_the_pages_on_health_limits_and_the_log_show_the_defaults() -> None:
    """Otherwise the test before this one would pass for want of anything to compare."""
    shown = {place.partition(":")[0] for place in DEFAULTS}
    folder = "docs/how-to"
    assert shown >= {f"{folder}/health-and-retries.md", f"{folder}/limits-and-timeouts.md", f"{folder}/access-log.md"}


# Commands


def command_lines(page: Path) -> list[str]:
    """The `equipoise ...` commands that a page shows, in blocks of shell and in the text."""
    text = "\n".join(blocks(page, "sh") + blocks(page, "console") + blocks(page, "ini"))
    # At the beginning of a line, perhaps behind settings of the environment; behind another command; behind a path.
    pattern = r"(?:^(?:\$ |[A-Z_]+=\S* )*|&& |[=/])(?:equipoise|python -m equipoise) (?=[a-z-])([^\n|&;<>#`]*)"
    shown = re.findall(pattern, text, re.MULTILINE)
    for span in re.findall(r"`([^`\n]+)`", prose(page)):
        shown += re.findall(r"^(?:equipoise|python -m equipoise) (?=[a-z-])([^|&;<>#]*)", span)
    return shown


def wrong(line: str) -> str | None:
    """What a command line names that there is not."""
    known = {command.name: {each for option in command.options for each in option.names} for command in commands()}
    words = line.replace("'", "").replace('"', "").split()
    command = "" if words[0].startswith("-") else words.pop(0)
    if words and f"{command} {words[0]}" in known:
        command += f" {words.pop(0)}"
    if command not in known:
        return f"{line}: no command {command}"
    options = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    strange = [option for option in options if option not in known[command] | {"--help"}]
    return f"{line}: no option {', '.join(strange)}" if strange else None


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_shown_is_there(page: Path) -> None:
    assert [found for line in command_lines(page) if (found := wrong(line)) is not None] == []


def test_commands_are_shown_and_a_wrong_one_is_found() -> None:
    assert len([line for page in PAGES for line in command_lines(page)]) > 20
    assert wrong("run -c file.toml --help") is None
    assert wrong("demo --duration=5 --kil-at 3") == "demo --duration=5 --kil-at 3: no option --kil-at"
    assert wrong("targets set a --weight 3") is None
    assert wrong("targets set a --wait") == "targets set a --wait: no option --wait"
    assert wrong("walk") == "walk: no command walk"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_target_of_make_is_there(page: Path) -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join([*blocks(page, "sh"), *re.findall(r"`([^`\n]+)`", prose(page))])
    assert set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)) - known == set()


# What the references list


def rows(page: str, heading: str) -> list[str]:
    """The first column of the first table below a heading."""
    text = (ROOT / page).read_text().partition(heading)[2]
    table = re.search(r"^\|[- |]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table is not None
    return re.findall(r"^\| `([^`]+)` \|", table[1], re.MULTILINE)


def test_the_access_logs_reference_has_every_field_in_order() -> None:
    assert rows("docs/reference/access-log.md", "# Access log") == list(FullRecord.__struct_fields__)


def test_the_access_logs_reference_has_every_kind_of_error() -> None:
    call = re.compile(r'(?:upstream_failed|refused|client_failed|ProxyError)\(\s*"(\w+)"')
    kinds = {kind for path in SOURCE.rglob("*.py") for kind in call.findall(path.read_text())} | {"malformed"}
    assert set(rows("docs/reference/access-log.md", "## `error`")) == kinds | OUTCOMES.keys()


# Code


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_piece_of_python_is_that_of_an_example(page: Path) -> None:
    """And a test runs the example. A piece may be the inside of a function."""
    sources = [path.read_text() for path in EXAMPLES.rglob("*.py")]
    sources += [re.sub(r"^    ", "", source, flags=re.MULTILINE) for source in sources]
    assert [code for code in blocks(page, "python") if not any(code.strip() in source for source in sources)] == []


# Every language of a fenced block -> what looks at those blocks.
LOOKED_AT = {
    "toml": "the tests of configurations above",
    "python": "the test above",
    "json": "the test below",
    "yaml": "the test below",
    "sh": "tests/scenarios/docs/test_commands.py",
    "console": "tests/scenarios/docs/test_commands.py",
    "nginx": "tests/scenarios/docs/test_commands.py",
    "haproxy": "tests/scenarios/docs/test_commands.py",
    "ini": "the tests of commands above",
    "text": "nothing: what a program says, or a drawing",
    "": "nothing: what a program says, or a drawing",
}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_of_a_language_that_is_looked_at(page: Path) -> None:
    found = {match[2].partition(" ")[0] for match in FENCE.finditer(page.read_text())}
    assert found - LOOKED_AT.keys() == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_of_json_and_yaml_is_some(page: Path) -> None:
    for text in blocks(page, "json"):
        json.loads(text)
    for text in blocks(page, "yaml"):
        assert import_module("yaml").safe_load(text)


# The limits

LIMITS_PAGE = ROOT / "docs" / "how-to" / "limits-and-timeouts.md"


def cells(column: int) -> set[str]:
    """What is in code in a column of the tables of the page of limits."""
    rows = [line.strip("|").split(" | ") for line in LIMITS_PAGE.read_text().splitlines() if line.startswith("| ")]
    return {text for row in rows if len(row) == 4 for text in re.findall(r"`([^`]+)`", row[column])}


def test_the_page_of_limits_shows_the_defaults() -> None:
    (defaults,) = blocks(LIMITS_PAGE, "toml")
    assert tomllib.loads(defaults) == {"limits": plain(LimitsConfig())}


def test_the_page_of_limits_says_of_every_limit_what_happens_and_where_it_is_counted() -> None:
    keys = {*LimitsConfig.__struct_fields__, *(f"queue.{name}" for name in QueueConfig.__struct_fields__)}
    assert keys - cells(0) == set()
    metrics = {name for name in cells(3) if name.startswith("equipoise_")}
    assert metrics <= METRICS.keys()
    assert set(LIMITS) - cells(3) == {"http2_flood"}
    assert "`http2_flood`" in LIMITS_PAGE.read_text()


def test_the_page_of_limits_has_the_budgets_of_floods() -> None:
    rows = re.findall(r"^\|[^|]*\| ([0-9,]+) \| ([0-9,]*) ?\|$", LIMITS_PAGE.read_text(), re.MULTILINE)
    shown = [tuple(int(number.replace(",", "") or 0) for number in row) for row in rows]
    kinds = ("RESET", "SETTINGS", "PING", "EMPTY", "UPDATE", "IDLE")
    budgets = [(getattr(flood, f"{kind}_BURST"), getattr(flood, f"{kind}_RATE")) for kind in kinds]
    assert shown == [*budgets, (flood.MAX_UNREAD, 0)]


# The threat model

THREATS = ROOT / "docs" / "threat-model.md"


def threats() -> list[list[str]]:
    """The rows that name tests: threat, answer, tests."""
    cells = [line.strip("|").split(" | ") for line in THREATS.read_text().splitlines() if line.startswith("| ")]
    return [row for row in cells if len(row) == 3 and row[0].strip() != "threat"]


def test_every_test_that_the_threat_model_names_is_there() -> None:
    missing = []
    for row in threats():
        for place in re.findall(r"`([^`]+::[^`]+)`", row[2]):
            file, _, test = place.partition("::")
            path = ROOT / "tests" / f"{file}.py"
            if not path.is_file() or not re.search(rf"^(?:async )?def {test}\(", path.read_text(), re.MULTILINE):
                missing.append(place)
    assert missing == []


def test_every_threat_has_a_test() -> None:
    assert len(threats()) > 40
    assert [row[0] for row in threats() if "::" not in row[2]] == []


# The site and llms.txt


def run_pages(*words: str) -> str:
    command = [sys.executable, str(ROOT / ".ci" / "docs_pages.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_llms_txt_is_current() -> None:
    assert (ROOT / "llms.txt").read_text() == run_pages("--llms"), "run: make llms"


def test_llms_txt_names_every_page_by_a_path_that_is_there() -> None:
    named = re.findall(r"\]\(([^)]+)\)", (ROOT / "llms.txt").read_text())
    assert [place for place in named if not (ROOT / place).exists()] == []
    assert {name(page) for page in DOCS} - {*named, "docs/index.md"} == set()


def test_the_navigation_of_the_site_has_every_page_once() -> None:
    text = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    shown = re.findall(r": (\S+\.md)$", text, re.MULTILINE)
    assert sorted(shown) == sorted(str(page.relative_to(ROOT / "docs")) for page in DOCS)


def test_every_link_on_the_site_leads_to_a_file_of_the_site(tmp_path: Path) -> None:
    run_pages(str(tmp_path))
    pages = sorted(tmp_path.rglob("*.md"))
    assert len(pages) > len(DOCS)
    wrong = [
        f"{page.relative_to(tmp_path)}: {link}"
        for page in pages
        for link in links(page)
        if (file := link.partition("#")[0]) and not (page.parent / file).is_file()
    ]
    assert wrong == []


@pytest.mark.skipif(find_spec("zensical") is None, reason="not installed: zensical (the extra `docs`)")
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    run_pages(str(tmp_path / "build" / "docs-pages"))
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    build = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    subprocess.run(build, cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / "build" / "site" / "index.html").is_file()

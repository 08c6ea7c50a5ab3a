"""The dashboard's files: what is served, as what, and that nothing in them asks for anything from elsewhere."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from fastapi import FastAPI

from equipoise.admin.dashboard import STATIC, VENDOR_MANIFEST, load, matches, mount
from tests.unit.admin.parts import Answer, Api, Call, perform

OURS = sorted(path for path in STATIC.rglob("*") if path.is_file() and "vendor" not in path.parts)
SCRIPTS = [path for path in OURS if path.suffix == ".js"]
PAGES = [path for path in OURS if path.suffix == ".html"]


class Site:
    """The dashboard alone, from a small folder of its own."""

    FILES: Mapping[str, str] = {
        "index.html": "<p>page",
        "missing.html": "<p>how to get it",
        "style.css": "p {}",
        "js/main.js": "export {}",
        ".vendor-x/preact.js": "half written",
        VENDOR_MANIFEST: "{}",
    }

    def __init__(self, folder: Path, *without: str) -> None:
        for name, text in self.FILES.items():
            if name not in without:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text)
        self.app = FastAPI()
        mount(self.app, folder)

    def get(self, path: str, method: str = "GET", **fields: str) -> Answer:
        named = [(name.replace("_", "-"), value) for name, value in fields.items()]
        return asyncio.run(perform(self.app, Call(method, path, named)))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize(
    ("path", "media_type", "body"),
    [
        ("/", "text/html; charset=utf-8", b"<p>page"),
        ("/assets/style.css", "text/css; charset=utf-8", b"p {}"),
        ("/assets/js/main.js", "text/javascript; charset=utf-8", b"export {}"),
    ],
)
def test_a_file_is_served_with_its_type(site: Site, path: str, media_type: str, body: bytes) -> None:
    answer = site.get(path)
    assert (answer.status, answer.get("content-type"), answer.body) == (200, media_type, body)


@pytest.mark.parametrize(
    "path", ["/assets/other.js", "/assets/", "/assets/../dashboard.py", "/assets/%2e%2e/dashboard.py", "/assets//etc"]
)
def test_there_is_nothing_but_the_files(site: Site, path: str) -> None:
    assert site.get(path).status == 404


def test_what_a_broken_build_left_is_not_served(site: Site) -> None:
    assert site.get("/assets/.vendor-x/preact.js").status == 404


@pytest.mark.parametrize("path", ["/", "/assets/js/main.js", "/assets/other.js"])
def test_every_answer_forbids_what_the_page_does_not_need(site: Site, path: str) -> None:
    answer = site.get(path)
    rules = dict(rule.strip().split(" ", 1) for rule in str(answer.get("content-security-policy")).split(";"))
    assert rules["default-src"] == "'self'"
    assert {rules[name] for name in ("base-uri", "form-action", "frame-ancestors", "object-src")} == {"'none'"}
    assert not re.search(r"unsafe|http|\*|data:", str(rules))
    assert answer.get("x-content-type-options") == "nosniff"
    assert answer.get("referrer-policy") == "no-referrer"


def test_what_a_browser_has_is_not_sent_again(site: Site) -> None:
    first = site.get("/assets/style.css")
    again = site.get("/assets/style.css", if_none_match=str(first.get("etag")))
    assert (again.status, again.body, again.get("etag")) == (304, b"", first.get("etag"))
    assert first.get("cache-control") == "no-cache"


def test_another_text_has_another_tag(site: Site) -> None:
    assert site.get("/assets/style.css").get("etag") != site.get("/assets/js/main.js").get("etag")


@pytest.mark.parametrize(
    ("field", "same"), [('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True), ('"b"', False), ("", False)]
)
def test_tags_are_compared_as_the_standard_says(field: str, same: bool) -> None:
    assert matches(field, '"a"') == same


def test_head_is_answered_without_a_body(site: Site) -> None:
    answer = site.get("/", "HEAD")
    assert (answer.status, answer.get("content-length")) == (200, "7")


def test_without_the_third_party_files_the_page_says_how_to_get_them(tmp_path: Path) -> None:
    answer = Site(tmp_path, VENDOR_MANIFEST).get("/")
    assert (answer.status, answer.body) == (501, b"<p>how to get it")
    assert answer.get("content-type") == "text/html; charset=utf-8"


def test_the_page_that_says_so_is_never_kept(tmp_path: Path) -> None:
    site = Site(tmp_path, VENDOR_MANIFEST)
    assert site.get("/", if_none_match=str(site.get("/").get("etag"))).status == 501


def test_the_page_needs_no_token(api: Api) -> None:
    assert api.ask("GET", "/", role="").status in {200, 501}
    assert api.ask("GET", "/assets/style.css", role="").status == 200


def test_the_admin_api_leaves_the_page_its_rules(api: Api) -> None:
    assert "default-src 'self'" in str(api.ask("GET", "/", role="").get("content-security-policy"))


# The files themselves


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_import_leads_to_a_file(path: Path) -> None:
    imports = re.findall(r'(?:from|import) "([^"]+)"', path.read_text())
    missing = [name for name in imports if not (path.parent / name).is_file() and "/vendor/" not in name]
    assert missing == []


def test_what_scripts_import_of_others_is_what_the_build_brings_in() -> None:
    used = {name for path in SCRIPTS for name in re.findall(r'"[./]*/vendor/([^"]+)"', path.read_text())}
    used |= {name for path in PAGES for name in re.findall(r'"assets/vendor/([^"]+)"', path.read_text())}
    assert used == {"preact.js", "hooks.js", "htm.js", "uplot.js", "uplot.css"}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_links_only_what_there_is(path: Path) -> None:
    assets = load(STATIC)
    linked = re.findall(r'(?:src|href)="assets/([^"]+)"', path.read_text())
    assert [name for name in linked if name not in assets and not name.startswith("vendor/")] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_has_no_script_and_no_style_within(path: Path) -> None:
    assert re.findall(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|javascript:", path.read_text()) == []


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_no_file_names_another_origin(path: Path) -> None:
    found = re.findall(r"(?:https?:)?//[a-z0-9][a-z0-9.-]+\.[a-z]{2,}|@import|@font-face", path.read_text())
    assert [name for name in found if "www.w3.org" not in name] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_makes_code_or_markup_of_text(path: Path) -> None:
    forbidden = r"\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write|dangerously"
    assert re.findall(forbidden, path.read_text()) == []

"""A real Chromium before a real balancer.

Owns: the browser, the pages in it, and the rule that no page may ask anything of another origin or complain.
Refuses to know: what a page shows.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from equipoise.admin.dashboard import STATIC, VENDOR_MANIFEST
from equipoise.admin.keys import secret_path
from equipoise.config.load import load
from tests.scenarios.support.balancer import Balancer
from tests.scenarios.support.polling import PATIENCE

HERE = Path(__file__).parent
PROGRAM = "chromium"
# It runs as root in containers, where its sandbox cannot be; and it must not look for updates on its own.
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if (STATIC / VENDOR_MANIFEST).is_file():
        return
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="this build has no dashboard: npm was not there when it was made"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of a module."""
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(PROGRAM), args=OPTIONS)
        yield browser
        browser.close()


@dataclass
class Visitor:
    """Somebody with a browser and the secret of a balancer."""

    balancer: Balancer
    page: Page
    # What a test provokes Chromium to say on the console: it puts each refusal there.
    provoked: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Keeps what the page asks for and complains about."""
        self.page.on("request", self._ask)
        self.page.on("console", self._complain)
        self.page.on("pageerror", lambda error: self.complaints.append(f"not caught: {error}"))

    def _ask(self, request: Request) -> None:
        self.asked.append(request.url)

    def _complain(self, message: ConsoleMessage) -> None:
        if message.type not in {"error", "warning"}:
            return
        if not any(text in message.text for text in self.provoked):
            self.complaints.append(message.text)

    def token(self, role: str = "admin", ttl: float = 3600.0) -> str:
        """A token of this balancer; one with no time left is never made by `equipoise token`, so it is made here."""
        secret = (self.balancer.folder / secret_path(load(self.balancer.config))).read_bytes().strip()
        until = datetime.now(UTC).timestamp() + ttl
        return jwt.encode({"sub": "ada", "role": role, "exp": until}, secret, algorithm="HS256")

    def open(self) -> Page:
        """The page, not signed in."""
        self.page.goto(self.balancer.admin)
        return self.page

    def sign_in(self, token: str | None = None) -> Page:
        """The page, signed in and live."""
        self.open()
        self.give(token or self.token())
        expect(self.page.get_by_text("Live", exact=True)).to_be_visible()
        return self.page

    def give(self, token: str) -> None:
        """Answers the page's question for a token."""
        self.page.get_by_label("Token", exact=True).fill(token)
        self.page.get_by_role("button", name="Sign in").click()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """What the API says, asked past the page."""
        fields = {"Authorization": f"Bearer {self.token()}"}
        url = f"{self.balancer.admin}/v1/{path}"
        answer = self.page.request.fetch(url, method=method, headers=fields, data=body, fail_on_status_code=True)
        return answer.json()

    def targets(self) -> dict[str, dict[str, Any]]:
        """The targets of the pool, by name, as the API has them."""
        return {target["name"]: target for target in self.ask("GET", "status")["pools"]["default"]["targets"]}


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Opens a page of its own at a balancer; options are those of a browser's context: viewport, color_scheme, ..."""
    visitors: list[Visitor] = []

    def start(balancer: Balancer, **options: Any) -> Visitor:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        visitor = Visitor(balancer, context.new_page())
        visitor.listen()
        visitors.append(visitor)
        return visitor

    yield start
    for visitor in visitors:
        visitor.page.context.close()
        elsewhere = [url for url in visitor.asked if not url.startswith("http://127.0.0.1:")]
        assert elsewhere == [], "the page asked another origin"
        assert visitor.complaints == []

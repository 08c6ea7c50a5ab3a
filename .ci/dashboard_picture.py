"""The picture of the dashboard in the documentation.

Owns: what happens before it is taken: five targets under traffic, one lost and regained, another one told to drain.
Refuses to know: how the page looks.

    .venv/bin/python .ci/dashboard_picture.py docs/how-to/dashboard.png

It takes Chromium, a minute and a half, and the compiled form (`make compile`): the page names the mode.
"""

import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from equipoise import Balancer
from equipoise.library.running import Running

PORTS = range(19101, 19106)
DELAYS_MS = (100, 115, 130, 145, 160)
KILL_S, RETURN_S, DRAIN_S, SHOT_S = 25, 42, 58, 75
WIDTH, HEIGHT = 1280, 900


def main(picture: Path) -> None:
    """Take it."""
    targets = [{"url": f"http://127.0.0.1:{port}", "name": f"checkout-{n}"} for n, port in enumerate(PORTS, 1)]
    configuration = {"workers": 2, "pools": {"default": {"targets": targets}}}
    with ExitStack() as ends, Balancer(configuration) as balancer:
        processes = [target(ends, number) for number in range(len(PORTS))]
        balancer.wait_until(lambda status: all(t["health"] == "up" for t in status["pools"]["default"]["targets"]))
        words = ["-m", "equipoise.demo.traffic", "--url", balancer.url, "--duration", "200", "--concurrency", "90"]
        run(ends, [*words, "--record", str(balancer.log.with_name("record"))])
        start = time.monotonic()
        with sync_playwright() as playwright:
            program = shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            sign_in(page, balancer)
            until(page, start + KILL_S)
            processes[2].kill()
            until(page, start + RETURN_S)
            target(ends, 2)
            until(page, start + DRAIN_S)
            balancer.change_target("checkout-5", state="draining")
            until(page, start + SHOT_S)
            page.screenshot(path=picture, full_page=True)
            browser.close()


def target(ends: ExitStack, number: int) -> "subprocess.Popen[bytes]":
    """A target that runs until the end."""
    words = ["-m", "equipoise", "target", "--port", str(PORTS[number]), "--name", f"checkout-{number + 1}"]
    return run(ends, [*words, "--delay", str(DELAYS_MS[number]), "--jitter", "lognormal"])


def run(ends: ExitStack, words: list[str]) -> "subprocess.Popen[bytes]":
    """A process that is ended at the end."""
    command = [sys.executable, *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 -- our own
    ends.callback(process.wait)
    ends.callback(process.send_signal, signal.SIGKILL)
    return process


def sign_in(page: Page, balancer: Running) -> None:
    """As somebody who may change things."""
    page.goto(balancer.admin_url)
    # One that is good for longer than those of the library: the page would say when it ends.
    words = ["token", "--ttl", "8h", "-c", str(balancer.log.with_name("equipoise.toml"))]
    command = [sys.executable, "-m", "equipoise", *words]
    token = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 -- our own
    page.get_by_label("Token", exact=True).fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("Live", exact=True).wait_for()


def until(page: Page, moment: float) -> None:
    """Let the page live until then."""
    page.wait_for_timeout(max(0.0, moment - time.monotonic()) * 1000)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The dashboard in a real Chromium, before a real balancer: what it shows and what it changes."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.scenarios.conftest import Balance, Lend
from tests.scenarios.dashboard.conftest import PROGRAM, Visitor
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.client import GET, Client, fetch, get
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Gate, Script, Stage, answer, hangs

Visit = Callable[..., Visitor]
ADMIN = Setting(admin=True)
# Chromium's start counts for the first test of a run.
pytestmark = [pytest.mark.needs(PROGRAM), pytest.mark.timeout(120)]


def waits(gate: Gate) -> Script:
    """Answers once the gate is open."""

    async def script(call: Call) -> None:
        await gate.passed()
        await call.send(answer())

    return script


def row(page: Page, target: str) -> Locator:
    return page.locator(f'[data-target="{target}"]')


def figure(page: Page, label: str) -> Locator:
    return page.locator(f'[data-figure="{label}"] .figure-value')


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


# Signing in


def test_it_asks_for_a_token_and_then_shows_the_targets(lend: Lend, visit: Visit) -> None:
    balancer, target = lend(setting=ADMIN)
    visitor = visit(balancer)
    page = visitor.open()
    expect(page.get_by_label("Token", exact=True)).to_be_focused()
    visitor.give(visitor.token())
    expect(row(page, target.name)).to_contain_text("Up")
    expect(page.get_by_role("heading", name="Pool default")).to_be_visible()


def test_a_token_that_is_refused_is_said_to_be(lend: Lend, visit: Visit) -> None:
    visitor = visit(lend(setting=ADMIN)[0])
    visitor.provoked = {"status of 401"}
    page = visitor.open()
    visitor.give("not.a.token")
    expect(page.get_by_role("alert")).to_contain_text("refused this token")


def test_the_tab_stays_signed_in_when_it_is_loaded_again(lend: Lend, visit: Visit) -> None:
    balancer, target = lend(setting=ADMIN)
    page = visit(balancer).sign_in()
    page.reload()
    expect(row(page, target.name)).to_be_visible()


def test_signing_out_forgets_the_token(lend: Lend, visit: Visit) -> None:
    page = visit(lend(setting=ADMIN)[0]).sign_in()
    button(page, "Sign out").click()
    expect(page.get_by_label("Token", exact=True)).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_an_expired_token_asks_for_another_and_nothing_is_lost(stage: Stage, balance: Balance, visit: Visit) -> None:
    target = stage.target()
    setting = Setting(admin=True, more='[admin.jwt]\nleeway = "0s"')
    visitor = visit(balance([target], setting))
    visitor.provoked = {"status of 401"}
    page = visitor.sign_in(visitor.token(ttl=8))
    button(page, "Add target").click()
    page.get_by_label("URL").fill("http://127.0.0.1:1")
    notice = page.get_by_text("Your token has expired")
    expect(notice).to_be_visible()
    visitor.give(visitor.token())
    expect(notice).to_be_hidden()
    expect(page.get_by_label("URL")).to_have_value("http://127.0.0.1:1")
    expect(row(page, target.name)).to_be_attached()


def test_who_may_only_read_is_offered_no_change(lend: Lend, visit: Visit) -> None:
    balancer, target = lend(setting=ADMIN)
    visitor = visit(balancer)
    page = visitor.sign_in(visitor.token(role="read"))
    expect(row(page, target.name)).to_be_visible()
    expect(page.get_by_text("Read only")).to_be_visible()
    for name in ("Add target", f"Drain {target.name}", f"Change {target.name}", f"Remove {target.name}"):
        expect(button(page, name)).to_have_count(0)


# What it shows


def test_requests_in_flight_are_shown_as_they_come_and_go(stage: Stage, balance: Balance, visit: Visit) -> None:
    gate = stage.gate()
    targets = [stage.target(waits(gate)) for _ in range(3)]
    balancer = balance(targets, ADMIN)
    page = visit(balancer).sign_in()
    expect(figure(page, "In flight")).to_have_text("0")
    clients = [Client(balancer.port).send(GET) for _ in range(6)]
    expect(figure(page, "In flight")).to_have_text("6")
    for target in targets:
        expect(row(page, target.name).locator(".load-number")).to_have_text("2")
    expect(figure(page, "Spread")).to_have_text("0")
    gate.open()
    for client in clients:
        client.answer()
    expect(figure(page, "In flight")).to_have_text("0")


def test_a_target_that_is_lost_and_regained_is_shown_and_told(stage: Stage, balance: Balance, visit: Visit) -> None:
    targets = [stage.target(), stage.target()]
    page = visit(balance(targets, ADMIN)).sign_in()
    lost = targets[0]
    lost.stop()
    expect(row(page, lost.name).locator(".chip")).to_have_text("Down")
    expect(row(page, lost.name).locator(".reason")).not_to_be_empty()
    expect(figure(page, "Targets up")).to_have_text("1 / 2")
    log = page.get_by_role("region", name="Activity")
    expect(log).to_contain_text(f"{lost.name} is down")
    expect(page.locator("[aria-live=polite]")).to_contain_text(f"{lost.name} in default is down")
    lost.start()
    expect(row(page, lost.name).locator(".chip")).to_have_text("Up")
    expect(log).to_contain_text(f"{lost.name} is up")


def test_what_happened_before_the_page_was_opened_is_in_the_log(stage: Stage, balance: Balance, visit: Visit) -> None:
    target = stage.target()
    visitor = visit(balance([target], ADMIN))
    visitor.ask("PATCH", f"pools/default/targets/{target.name}", {"weight": 3})
    page = visitor.sign_in()
    expect(page.get_by_role("region", name="Activity")).to_contain_text("weight = 3")


def test_it_shows_the_workers_and_the_version(stage: Stage, balance: Balance, visit: Visit) -> None:
    balancer = balance([stage.target()], Setting(admin=True, workers=2))
    page = visit(balancer).sign_in()
    workers = page.get_by_role("region", name="Workers")
    for pid in balancer.workers:
        expect(workers).to_contain_text(str(pid))
    expect(figure(page, "Version")).to_have_text("1")


def test_it_plots_every_target_over_time(stage: Stage, balance: Balance, visit: Visit) -> None:
    page = visit(balance([stage.target(), stage.target()], ADMIN)).sign_in()
    plots = page.locator(".plot canvas")
    expect(plots).to_have_count(2)
    drawn = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)"
    assert plots.first.evaluate(drawn)
    expect(page.get_by_role("img", name="Requests in flight per target")).to_be_visible()
    page.get_by_role("group", name="What the second plot shows").get_by_role("button", name="Response").click()
    expect(page.get_by_text("Mean response time")).to_be_visible()


def test_a_lost_connection_is_said_and_found_again(stage: Stage, balance: Balance, visit: Visit) -> None:
    """The successor has the same port and the same secret, as after a restart."""
    target = stage.target()
    first = balance([target], ADMIN)
    visitor = visit(first)
    visitor.provoked = {"net::ERR_"}
    page = visitor.sign_in()
    port = first.admin.rpartition(":")[2]
    text = first.config.read_text().replace('[admin]\nenabled = true\nlisten = "127.0.0.1:0"', "[admin]")
    assert text != first.config.read_text()
    text = text.replace("[admin]", f'[admin]\nlisten = "127.0.0.1:{port}"')
    first.end()
    expect(page.get_by_text("Reconnecting", exact=True)).to_be_visible()
    with Balancer(first.folder, text):
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        page.context.close()


def test_five_hundred_targets_can_be_looked_through(stage: Stage, balance: Balance, visit: Visit) -> None:
    target = stage.target()
    tables = "".join(
        f'\n[[pools.default.targets]]\nurl = "http://127.0.0.{i % 250 + 1}:{target.port + i // 250}"\nname = "t-{i}"'
        for i in range(500)
    )
    balancer = balance([], Setting(admin=True, pool=tables + '\n[pools.default.health]\ntype = "none"'))
    page = visit(balancer).sign_in()
    expect(page.locator("tbody [data-target]")).to_have_count(500)
    page.get_by_placeholder("Find by name").fill("t-49")
    expect(page.locator("tbody [data-target]")).to_have_count(11)
    page.get_by_placeholder("Find by name").fill("")
    page.get_by_role("columnheader", name="Target").get_by_role("button").click(click_count=1)
    expect(page.locator("tbody [data-target]").nth(10)).to_have_attribute("data-target", "t-10")


# What it changes


def test_draining_and_enabling_a_target(stage: Stage, balance: Balance, visit: Visit) -> None:
    targets = [stage.target(), stage.target()]
    visitor = visit(balance(targets, ADMIN))
    page, name = visitor.sign_in(), targets[0].name
    button(page, f"Drain {name}").click()
    expect(row(page, name).locator(".chip")).to_have_text("Draining")
    assert visitor.targets()[name]["health"] == "draining"
    button(page, f"Enable {name}").click()
    expect(row(page, name).locator(".chip")).to_have_text("Up")
    assert visitor.targets()[name]["health"] == "up"


def test_adding_a_target(stage: Stage, balance: Balance, visit: Visit) -> None:
    targets = [stage.target(), stage.target()]
    visitor = visit(balance(targets[:1], ADMIN))
    page = visitor.sign_in()
    button(page, "Add target").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("URL").fill(targets[1].url)
    dialog.get_by_label("Name").fill("second")
    dialog.get_by_label("Weight").fill("3")
    button(page, "Add target").last.click()
    expect(dialog).to_be_hidden()
    expect(row(page, "second").locator(".chip")).to_have_text("Up")
    added = visitor.targets()["second"]
    assert (added["url"], added["weight"]) == (targets[1].url, 3)


def test_what_is_wrong_with_a_new_target_stands_at_its_field(lend: Lend, visit: Visit) -> None:
    visitor = visit(lend(setting=ADMIN)[0])
    visitor.provoked = {"status of 422"}
    page = visitor.sign_in()
    button(page, "Add target").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("URL").fill("http://127.0.0.1:1")
    dialog.get_by_label("Weight").fill("many")
    dialog.get_by_role("button", name="Add target").click()
    expect(dialog.get_by_label("Weight")).to_have_attribute("aria-invalid", "true")
    expect(dialog.get_by_label("Weight")).to_be_focused()
    expect(dialog.locator("#error-weight")).not_to_be_empty()
    dialog.get_by_label("Weight").fill("1")
    dialog.get_by_label("URL").fill("gopher://nowhere")
    dialog.get_by_role("button", name="Add target").click()
    expect(dialog.locator("#error-url")).not_to_be_empty()
    expect(dialog.get_by_label("Weight")).not_to_have_attribute("aria-invalid", "true")
    assert len(visitor.targets()) == 1


def test_changing_a_weight(stage: Stage, balance: Balance, visit: Visit) -> None:
    target = stage.target()
    visitor = visit(balance([target], ADMIN))
    page = visitor.sign_in()
    button(page, f"Change {target.name}").click()
    dialog = page.get_by_role("dialog")
    expect(button(page, "Apply")).to_be_disabled()
    dialog.get_by_label("Weight").fill("7")
    button(page, "Apply").click()
    expect(row(page, target.name).locator("td.col-weight")).to_have_text("7")
    assert visitor.targets()[target.name]["weight"] == 7


def test_removing_a_target_is_confirmed_first(stage: Stage, balance: Balance, visit: Visit) -> None:
    targets = [stage.target(), stage.target()]
    visitor = visit(balance(targets, ADMIN))
    page, name = visitor.sign_in(), targets[0].name
    button(page, f"Remove {name}").click()
    button(page, "Cancel").click()
    assert len(visitor.targets()) == 2
    button(page, f"Remove {name}").click()
    button(page, "Remove").click()
    expect(row(page, name)).to_have_count(0)
    assert list(visitor.targets()) == [targets[1].name]


def test_removing_with_force_cuts_what_is_in_flight(stage: Stage, balance: Balance, visit: Visit) -> None:
    targets = [stage.target(hangs), stage.target(hangs)]
    balancer = balance(targets, ADMIN)
    page, name = visit(balancer).sign_in(), targets[0].name
    for _ in range(2):
        Client(balancer.port).send(GET)
    eventually(lambda: targets[0].in_flight, lambda count: count == 1)
    button(page, f"Remove {name}").click()
    page.get_by_label("Cut what is in flight").check()
    button(page, "Cut and remove").click()
    expect(row(page, name)).to_have_count(0)
    eventually(lambda: targets[0].in_flight, lambda count: count == 0)


def test_switching_the_algorithm(stage: Stage, balance: Balance, visit: Visit) -> None:
    visitor = visit(balance([stage.target()], ADMIN))
    page = visitor.sign_in()
    page.get_by_role("button", name="Algorithm Least in flight").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("each target in turn")
    dialog.get_by_label("Round robin").check()
    button(page, "Switch").click()
    expect(page.get_by_role("button", name="Algorithm Round robin")).to_be_visible()
    assert visitor.ask("GET", "status")["pools"]["default"]["algorithm"] == "round_robin"


def test_a_change_made_meanwhile_is_shown_before_it_is_overwritten(
    stage: Stage, balance: Balance, visit: Visit
) -> None:
    target = stage.target()
    visitor = visit(balance([target], ADMIN))
    visitor.provoked = {"status of 412"}
    page = visitor.sign_in()
    button(page, f"Change {target.name}").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Weight").fill("5")
    visitor.ask("PATCH", f"pools/default/targets/{target.name}", {"weight": 9})
    button(page, "Apply").click()
    expect(dialog.get_by_role("alert")).to_contain_text("changed while you were looking (version 1, now 2)")
    expect(dialog.get_by_role("alert")).to_contain_text("weight = 9")
    assert visitor.targets()[target.name]["weight"] == 9
    button(page, "Apply").click()
    expect(dialog).to_be_hidden()
    assert visitor.targets()[target.name]["weight"] == 5


# The cache

CACHED = Setting(admin=True, pool='[pools.default.cache]\nenabled = true\nttl = "1h"')


def cache(page: Page) -> Locator:
    return page.get_by_role("region", name="Cache of default")


def fill(balancer: Balancer, *paths: str) -> None:
    """Has each path stored, and asks for it once more."""
    for path in paths * 2:
        fetch(balancer.port, get(path))


def test_the_cache_is_switched_on(stage: Stage, balance: Balance, visit: Visit) -> None:
    balancer = balance([stage.target()], ADMIN)
    visitor = visit(balancer)
    page = visitor.sign_in()
    switch = page.get_by_role("switch", name="Cache")
    expect(switch).to_have_attribute("aria-checked", "false")
    expect(cache(page).get_by_role("button", name="Purge the cache of default")).to_have_count(0)
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "true")
    assert visitor.ask("GET", "pools/default/cache")["enabled"] is True
    fill(balancer, "/")
    expect(cache(page).locator(".hit-ratio")).to_have_text("50.0\u202f%")
    expect(cache(page)).to_contain_text("1 answer")


def test_switching_a_cache_off_that_holds_something_is_confirmed(stage: Stage, balance: Balance, visit: Visit) -> None:
    balancer = balance([stage.target()], CACHED)
    visitor = visit(balancer)
    page = visitor.sign_in()
    fill(balancer, "/a", "/b")
    expect(cache(page)).to_contain_text("2 answers")
    page.get_by_role("switch", name="Cache").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 answers will be dropped")
    button(page, "Switch off").click()
    expect(page.get_by_role("switch", name="Cache")).to_have_attribute("aria-checked", "false")
    assert visitor.ask("GET", "pools/default/cache")["enabled"] is False


def test_a_cache_is_purged_whole_or_by_path(stage: Stage, balance: Balance, visit: Visit) -> None:
    balancer = balance([stage.target()], CACHED)
    visitor = visit(balancer)
    visitor.provoked = {"status of 422"}
    page = visitor.sign_in()
    fill(balancer, "/a", "/b", "/img/1", "/img/2")
    expect(cache(page)).to_contain_text("4 answers")
    for choice, path, left in (("One path", "/a", 3), ("Paths that begin with", "/img", 1)):
        button(page, "Purge the cache of default").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label(choice).check()
        dialog.get_by_label("Path", exact=True).fill("no path")
        button(page, "Purge").click()
        expect(dialog.get_by_label("Path", exact=True)).to_have_attribute("aria-invalid", "true")
        dialog.get_by_label("Path", exact=True).fill(path)
        button(page, "Purge").click()
        expect(dialog).to_be_hidden()
        assert visitor.ask("GET", "pools/default/cache")["entries"] == left
    button(page, "Purge the cache of default").click()
    button(page, "Purge").click()
    expect(cache(page)).to_contain_text("0 answers")
    expect(page.get_by_role("region", name="Activity")).to_contain_text("purged: 1 answers")


def test_a_cache_is_tuned(stage: Stage, balance: Balance, visit: Visit) -> None:
    visitor = visit(balance([stage.target()], CACHED))
    visitor.provoked = {"status of 422"}
    page = visitor.sign_in()
    button(page, "Set the cache of default").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("textbox", name="Time")).to_have_value("1h")
    dialog.get_by_role("textbox", name="Time").fill("soon")
    button(page, "Apply").click()
    expect(dialog.locator("#error-ttl")).to_contain_text("must be a duration")
    dialog.get_by_role("textbox", name="Time").fill("90s")
    dialog.get_by_label("HTTP caching").check()
    button(page, "Apply").click()
    expect(dialog).to_be_hidden()
    expect(cache(page)).to_contain_text("RFC 9111")
    found = visitor.ask("GET", "pools/default/cache")
    assert (found["mode"], found["ttl"]) == ("rfc9111", 90)


def test_who_may_only_read_sees_the_cache_and_is_offered_no_change(lend: Lend, visit: Visit) -> None:
    visitor = visit(lend(setting=CACHED)[0])
    page = visitor.sign_in(visitor.token(role="read"))
    expect(cache(page)).to_contain_text("Cache on")
    expect(cache(page).get_by_role("button")).to_have_count(0)
    expect(page.get_by_role("switch")).to_have_count(0)


# For everybody


def test_everything_can_be_done_with_the_keyboard(stage: Stage, balance: Balance, visit: Visit) -> None:
    targets = [stage.target(), stage.target()]
    visitor = visit(balance(targets[:1], ADMIN))
    page = visitor.open()
    page.keyboard.insert_text(visitor.token())
    page.keyboard.press("Enter")
    expect(row(page, targets[0].name)).to_be_visible()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Add target":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_label("URL")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(targets[1].url)
    page.keyboard.press("Enter")
    expect(row(page, targets[1].name)).to_be_visible()
    expect(button(page, "Add target")).to_be_focused()


def test_escape_closes_a_dialog_and_changes_nothing(lend: Lend, visit: Visit) -> None:
    balancer, target = lend(setting=ADMIN)
    visitor = visit(balancer)
    page = visitor.sign_in()
    button(page, f"Remove {target.name}").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(button(page, f"Remove {target.name}")).to_be_focused()
    assert len(visitor.targets()) == 1


@pytest.mark.parametrize("width", [320, 360, 768])
def test_a_narrow_screen_needs_no_sideways_scrolling(lend: Lend, visit: Visit, width: int) -> None:
    balancer, target = lend(setting=ADMIN)
    page = visit(balancer, viewport={"width": width, "height": 740}).sign_in()
    expect(row(page, target.name)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(button(page, f"Drain {target.name}")).to_be_visible()


# Text whose contrast with what lies behind it is below WCAG's AA. A half-transparent ground is looked through.
PALE = """() => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parse = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b]
    .map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour[3] > 200) return colour;
    }
    return [255, 255, 255];
  };
  const pale = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest(":disabled")) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) pale.push(`${walker.currentNode.data}: ${ratio.toFixed(2)}`);
  }
  return pale;
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_its_ground(stage: Stage, balance: Balance, visit: Visit, theme: str) -> None:
    targets = [stage.target(), stage.target(), stage.closed_port()]
    visitor = visit(balance(targets, ADMIN), color_scheme=theme, reduced_motion="reduce")
    page = visitor.sign_in()
    visitor.ask("PATCH", f"pools/default/targets/{targets[0].name}", {"state": "draining"})
    expect(row(page, targets[0].name).locator(".chip")).to_have_text("Draining")
    expect(row(page, targets[2].name).locator(".chip")).to_have_text("Down")
    assert page.evaluate(PALE) == []


def test_the_theme_is_the_system_s_until_one_is_chosen(lend: Lend, visit: Visit) -> None:
    page = visit(lend(setting=ADMIN)[0], color_scheme="dark").sign_in()
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(ground)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(ground)
    assert light != dark
    page.get_by_role("button", name="Theme of the system").click()
    page.get_by_role("button", name="Light theme").click()
    assert page.evaluate(ground) == dark
    page.reload()
    assert page.evaluate(ground) == dark

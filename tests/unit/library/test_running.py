import asyncio
import json
import ssl
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest

from equipoise import AsyncRunning, Balancer, BalancerError, CallRefusedError, ConfigError, Running
from equipoise.library.running import Place, place
from equipoise.library.settings import settle
from tests.support.certificates import Authority


class Found:
    """What a process that is ready knows."""

    pid = 7
    log = Path("log")
    access_log = Path("lines")
    admin_address = "0.0.0.0:9"

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses


# Where it is


def test_a_listener_on_any_address_is_reached_over_the_loopback(tmp_path: Path) -> None:
    config = settle({"listen": ["0.0.0.0:0", "[::]:0"], "pools": {"a": {"targets": []}}}, tmp_path).config
    found = place(Found("0.0.0.0:81", "[::]:82"), config)  # type: ignore[arg-type]
    assert found == Place(
        url="http://127.0.0.1:81",
        urls=("http://127.0.0.1:81", "http://[::1]:82"),
        addresses=("0.0.0.0:81", "[::]:82"),
        admin_url="http://127.0.0.1:9",
        pid=7,
        log=Path("log"),
        access_log=Path("lines"),
    )


def test_a_request_goes_through_and_has_its_line(shared: Running) -> None:
    with urllib.request.urlopen(f"{shared.url}/here") as answer:
        assert answer.read().startswith(b"hello from ")
    shared.wait_until(lambda _: "/here" in shared.access_log.read_text())
    line = next(json.loads(each) for each in shared.access_log.read_text().splitlines() if "/here" in each)
    assert (line["status"], line["target"]) == (200, "a")


def test_addresses_and_log_are_those_of_the_process(shared: Running) -> None:
    assert shared.urls == tuple(f"http://{address}" for address in shared.addresses) == (shared.url,)
    events = [json.loads(line) for line in shared.log.read_text().splitlines()]
    assert [event["pid"] for event in events if event["event"] == "ready"] == [shared.pid]


# Calls


def test_status_configuration_and_targets_are_the_admin_apis(shared: Running) -> None:
    assert shared.config()["config"]["pools"]["default"]["algorithm"] == "least_in_flight"
    assert [each["name"] for each in shared.targets()] == ["a"]
    assert shared.status()["pools"]["default"]["targets"][0]["health"] == "up"


def test_a_target_comes_changes_and_goes(shared: Running) -> None:
    added = shared.add_target("http://127.0.0.1:9", name="b", state="draining", pool="default")
    assert (added["name"], added["state"], added["weight"]) == ("b", "draining", 1)
    assert shared.change_target("b", weight=5)["weight"] == 5
    assert shared.remove_target("b", force=True)["removed"] == "b"
    assert [each["name"] for each in shared.targets()] == ["a"]


def test_the_algorithm_changes(shared: Running) -> None:
    assert shared.set_algorithm("random")["algorithm"] == "random"
    assert shared.set_algorithm("least_in_flight")["algorithm"] == "least_in_flight"


def test_the_cache_is_switched_looked_at_and_emptied(shared: Running) -> None:
    assert shared.set_cache(enabled=True, ttl="30s")["enabled"] is True
    assert shared.cache()["ttl"] == 30
    assert shared.purge_cache(prefix="/a")["version"] == shared.status()["version"]
    assert shared.set_cache(enabled=False)["enabled"] is False


def test_a_refused_call_names_the_place_and_has_the_status(shared: Running) -> None:
    with pytest.raises(CallRefusedError, match=r"^weight: input should be greater") as caught:
        shared.change_target("a", weight=0)
    assert caught.value.status == 422
    with pytest.raises(CallRefusedError, match="no target") as caught:
        shared.remove_target("z")
    assert caught.value.status == 404


def test_a_token_opens_the_api_for_calls_of_ones_own(shared: Running) -> None:
    def status(role: str, method: str) -> int:
        request = urllib.request.Request(f"{shared.admin_url}/v1/reload", method=method)
        request.add_header("Authorization", f"Bearer {shared.token(role=role)}")  # type: ignore[arg-type]
        try:
            with urllib.request.urlopen(request) as answer:
                return int(answer.status)
        except HTTPError as error:
            return error.code

    assert (status("admin", "POST"), status("read", "POST")) == (200, 403)


def test_waiting_for_a_status_that_never_comes_ends_with_the_last_one(shared: Running) -> None:
    with pytest.raises(TimeoutError, match=r"within 0 s; the last one was .*least_in_flight"):
        shared.wait_until(lambda _: False, timeout=0)


def test_an_event_loop_goes_on_during_a_call(shared: Running) -> None:
    async def main() -> None:
        balancer = AsyncRunning(shared)
        assert balancer.url == shared.url
        assert (await balancer.status())["compiled"] in {True, False}
        assert [each["name"] for each in await balancer.targets()] == ["a"]
        assert (await balancer.config())["version"] == (await balancer.status())["version"]
        assert (await balancer.add_target("http://127.0.0.1:9", name="c", state="down"))["name"] == "c"
        assert (await balancer.change_target("c", weight=2))["weight"] == 2
        assert (await balancer.remove_target("c"))["removed"] == "c"
        assert (await balancer.set_algorithm("least_in_flight"))["pool"] == "default"
        assert (await balancer.set_cache(enabled=False))["enabled"] is False
        assert (await balancer.cache())["enabled"] is False
        assert (await balancer.purge_cache(path="/x"))["version"] == (await balancer.status())["version"]
        assert (await balancer.reload())["changed"] is False
        assert await balancer.token()
        await balancer.wait_until(lambda status: status["pools"])
        with pytest.raises(TimeoutError):
            await balancer.wait_until(lambda _: False, timeout=0)

    asyncio.run(main())


# Others than the shared one


def test_another_configuration_is_taken_up_and_a_bad_one_is_not(target: str) -> None:
    table = {"pools": {"one": {"targets": [target]}, "two": {"targets": []}}, "routes": [{"pool": "one"}]}
    with Balancer(table) as balancer:
        with pytest.raises(ValueError, match="several pools; name one with pool=: one, two"):
            balancer.targets()
        with pytest.raises(ConfigError, match=r"pools\.one\.algorithm"):
            balancer.reload({"pools": {"one": {"targets": [], "algorithm": "x"}}})
        assert set(balancer.status()["pools"]) == {"one", "two"}
        assert balancer.reload({"pools": {"one": {"targets": [target]}}})["changed"] is True
        assert [each["url"] for each in balancer.targets()] == [target]


def test_without_the_admin_api_there_is_traffic_and_no_call(target: str) -> None:
    with Balancer({"admin": {"enabled": False}, "pools": {"default": {"targets": [target]}}}) as balancer:
        assert urllib.request.urlopen(balancer.url).status == 200
        assert balancer.admin_url == ""
        with pytest.raises(BalancerError, match="the admin API is switched off"):
            balancer.status()


def test_a_listener_with_tls_has_an_https_url(target: str, tmp_path: Path) -> None:
    authority = Authority().write(tmp_path)
    authority.issue("localhost", "127.0.0.1").write(tmp_path, "one")
    tls = {"certificate_file": str(tmp_path / "one.pem"), "key_file": str(tmp_path / "one.key")}
    table = {"listeners": [{"address": "127.0.0.1:0", "tls": tls}], "pools": {"default": {"targets": [target]}}}
    with Balancer(table) as balancer:
        trust = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        assert balancer.url.startswith("https://127.0.0.1:")
        with urllib.request.urlopen(balancer.url, context=trust) as answer:
            assert answer.status == 200

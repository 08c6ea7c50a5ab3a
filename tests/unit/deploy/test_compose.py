"""The Compose files: by their schema, and by what they tell our own programs."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from equipoise.config.load import load
from equipoise.config.schema import LimitsConfig
from equipoise.demo.elsewhere import CLOCK
from equipoise.demo.settings import DemoSettings
from tests.support.shipping import ROOT, compose, documents, run_tool, usage_error

MAIN, PRODUCTION = "compose.yaml", "compose.prod.yaml"
OURS = [(MAIN, name) for name in compose(MAIN)["services"]] + [(PRODUCTION, "balancer")]


def service(file: str, name: str) -> Any:
    return compose(file)["services"][name]


def option(words: list[str], name: str) -> str | None:
    """What follows an option of a command."""
    return words[words.index(name) + 1] if name in words else None


def seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)s", text)
    assert match is not None, text
    return float(match[1])


@pytest.mark.parametrize("name", [MAIN, PRODUCTION])
def test_the_schema_is_kept(name: str) -> None:
    found = run_tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(ROOT / name))
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(("file", "name"), OURS)
def test_a_command_is_one_of_ours(file: str, name: str) -> None:
    assert usage_error(service(file, name).get("command", ["run"])) is None


@pytest.mark.parametrize(("file", "name"), OURS)
def test_a_health_check_is_a_command_of_ours(file: str, name: str) -> None:
    check = service(file, name)["healthcheck"]
    if not check.get("disable"):
        assert check["test"][:2] == ["CMD", "equipoise"]
        assert usage_error(check["test"][2:]) is None


@pytest.mark.parametrize(("file", "name"), OURS)
def test_a_process_may_do_no_more_than_it_needs(file: str, name: str) -> None:
    given = service(file, name)
    assert given["read_only"]
    assert given["cap_drop"] == ["ALL"]
    assert given["security_opt"] == ["no-new-privileges:true"]
    assert set(given.get("cap_add", [])) <= {"DAC_OVERRIDE"}
    assert "privileged" not in given


@pytest.mark.parametrize("file", [MAIN, PRODUCTION])
def test_nobody_has_the_container_engines_socket(file: str) -> None:
    assert "docker.sock" not in (ROOT / file).read_text()


@pytest.mark.parametrize(("file", "name"), OURS)
def test_a_stop_waits_longer_than_the_drain(file: str, name: str) -> None:
    assert seconds(service(file, name)["stop_grace_period"]) > LimitsConfig().drain_timeout


@pytest.mark.parametrize("file", [MAIN, PRODUCTION])
def test_all_but_the_traffic_is_published_to_this_host_alone(file: str) -> None:
    for name, given in compose(file)["services"].items():
        ports = [port for port in given.get("ports", []) if not (file == PRODUCTION and port == "80:8080")]
        assert [port for port in ports if not port.startswith("127.0.0.1:")] == [], name


# The main run


def test_there_are_the_demos_targets_each_with_its_name_and_speed() -> None:
    demo = DemoSettings(ROOT)
    for number, name in enumerate(demo.names):
        words = service(MAIN, f"target-{name}")["command"]
        assert option(words, "--name") == name
        assert option(words, "--delay") == f"{demo.delay_of(number):g}"
        assert option(words, "--log-every") == "10"


def test_files_are_called_as_the_report_reads_them() -> None:
    for name in DemoSettings(ROOT).names:
        words = service(MAIN, f"target-{name}")["command"]
        assert option(words, "--log") == f"/run/demo/target-{name}.log"
        assert option(words, "--samples") == f"/run/demo/target-{name}.samples"
    assert option(service(MAIN, "traffic")["command"], "--shared") == "/run/demo"


def test_one_target_is_away_from_100_s_to_200_s_and_no_other_is() -> None:
    away = {name for name, given in compose(MAIN)["services"].items() if "--stop-at" in given["command"]}
    assert away == {f"target-{DemoSettings(ROOT).killed}"}
    words = service(MAIN, away.pop())["command"]
    assert [option(words, name) for name in ("--stop-at", "--start-at")] == ["100", "200"]
    assert option(words, "--clock") == f"/run/demo/{CLOCK}"


@pytest.mark.parametrize("environment", [{}, {"DURATION": "30", "STOP_AT": "10", "START_AT": "20"}])
def test_the_traffic_and_the_target_have_one_timeline(environment: dict[str, str]) -> None:
    services = compose(MAIN, environment)["services"]
    traffic, target = services["traffic"]["command"], services["target-c"]["command"]
    assert option(traffic, "--kill-at") == option(target, "--stop-at") == environment.get("STOP_AT", "100")
    assert option(traffic, "--restart-at") == option(target, "--start-at") == environment.get("START_AT", "200")
    assert option(traffic, "--duration") == environment.get("DURATION", "300")


def test_the_balancer_knows_the_targets_by_their_services() -> None:
    config = load(ROOT / "deploy/compose/balancer/equipoise.toml")
    known = {target.name: target.url for target in config.pools["default"].targets}
    assert known == {name: f"http://target-{name}:9001" for name in DemoSettings(ROOT).names}
    assert config.access_log.path == "/run/demo/access.log"


def test_no_container_ends_before_the_traffic_does() -> None:
    """`docker compose up --exit-code-from` ends everything as soon as anything has ended."""
    needed = [each["condition"] for each in service(MAIN, "balancer")["depends_on"].values()]
    needed += [each["condition"] for each in service(MAIN, "traffic")["depends_on"].values()]
    assert set(needed) == {"service_healthy"}


def test_the_report_is_in_a_folder_of_the_host_that_git_ignores() -> None:
    words, volumes = service(MAIN, "traffic")["command"], service(MAIN, "traffic")["volumes"]
    (folder,) = [volume.split(":")[0] for volume in volumes if volume.endswith(f":{option(words, '--report')}")]
    assert f"/{folder.removeprefix('./')}/" in (ROOT / ".gitignore").read_text()


# Production


def test_what_is_mounted_is_there() -> None:
    for file in (MAIN, PRODUCTION):
        for name, given in compose(file)["services"].items():
            sources = [volume.split(":")[0] for volume in given.get("volumes", []) if volume.startswith("./")]
            missing = [source for source in sources if not (ROOT / source).exists() and "report" not in source]
            assert missing == [], name


@pytest.mark.parametrize("path", sorted((ROOT / "deploy").rglob("equipoise.toml")), ids=lambda path: path.parent.name)
def test_every_configuration_is_good(path: Path) -> None:
    config = load(path)
    assert config.listen == ("0.0.0.0:8080",)
    assert config.admin.listen == "0.0.0.0:8081"


def test_metrics_are_scraped_where_the_balancer_serves_them() -> None:
    (job,) = documents(ROOT / "deploy/compose/prometheus.yml")[0]["scrape_configs"]
    port = tomllib.loads((ROOT / "deploy/compose/production/equipoise.toml").read_text())["admin"]["listen"]
    assert job["static_configs"] == [{"targets": [f"balancer:{port.rpartition(':')[2]}"]}]
    assert set(service(PRODUCTION, "balancer")["networks"]) & set(service(PRODUCTION, "prometheus")["networks"])


def test_what_watches_is_started_only_when_asked_for() -> None:
    services = compose(PRODUCTION)["services"]
    assert {name for name, given in services.items() if "profiles" not in given} == {"balancer"}

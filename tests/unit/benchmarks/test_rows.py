from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import certificate, plan
from benchmarks.model import CACHE, CALLS, TRAFFIC, Build, Link, Row
from benchmarks.rows import MissingProgram, Place, Programs, command


class AnyProgram(Programs):
    def find(self, name: str) -> str:
        return f"/programs/{name}"


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[Row], str]:
    def configure(row: Row) -> str:
        folder = tmp_path / "row"
        folder.mkdir()
        place = Place(folder, 8080, (9001, 9002), 2, certificate.make(tmp_path))
        argv = command(row, place, AnyProgram(tmp_path)).argv
        return "\n".join([*(path.read_text() for path in sorted(folder.iterdir())), *argv])

    return configure


OURS = Build("equipoise", "python3")
EVERY = tuple(
    dict.fromkeys(
        (
            *(*plan.PEERS, *plan.BIG_BODY_PEERS, *plan.VARIANTS, *plan.rows_of(OURS)),
            *(row for traffic in TRAFFIC[1:] for row in plan.rows_for([OURS], plan.Choice(), traffic)),
        )
    )
)


def name_of(row: Row) -> str:
    return f"{row.name}, {row.link}"


@pytest.mark.parametrize("row", EVERY, ids=name_of)
def test_a_configuration_names_the_port_and_every_target(configured: Callable[[Row], str], row: Row) -> None:
    text = configured(row)

    assert all(port in text for port in ("8080", "9001", "9002"))


@pytest.mark.parametrize("row", plan.CACHE_PEERS, ids=name_of)
def test_what_keeps_answers_names_the_port_and_a_target(configured: Callable[[Row], str], row: Row) -> None:
    text = configured(row)

    assert all(port in text for port in ("8080", "9001"))


@pytest.mark.parametrize("kind", ["equipoise", "nginx"])
def test_answers_are_kept_exactly_when_the_row_says_so(tmp_path: Path, kind: str) -> None:
    texts = []
    for variant in (CACHE, ""):
        folder = tmp_path / f"row {variant}"
        folder.mkdir()
        command(Row("any", kind, variant=variant), Place(folder, 8080, (9001,), 1), AnyProgram(tmp_path))
        texts.append("".join(path.read_text() for path in folder.iterdir()))

    assert ["cache" in text for text in texts] == [True, False]


HTTP2_TARGETS = {
    "equipoise": "h2c://127.0.0.1:9001",
    "nginx": "grpc_pass grpc://targets",
    "haproxy": "server t0 127.0.0.1:9001 proto h2",
    "envoy": "http2_protocol_options",
    "traefik": "h2c://127.0.0.1:9001",
    "caddy": "h2c://127.0.0.1:9001",
    "nghttpx": "--backend=127.0.0.1,9001;;proto=h2",
}


@pytest.mark.parametrize("link", Link)
@pytest.mark.parametrize("kind", HTTP2_TARGETS)
def test_targets_are_asked_over_http2_exactly_when_the_link_says_so(
    configured: Callable[[Row], str], kind: str, link: Link
) -> None:
    text = configured(Row(kind, kind, link=link))

    assert (HTTP2_TARGETS[kind] in text) == (link is Link.HTTP2)


@pytest.mark.parametrize("link", Link)
@pytest.mark.parametrize("kind", HTTP2_TARGETS)
def test_the_certificate_is_used_exactly_when_clients_speak_tls(
    configured: Callable[[Row], str], kind: str, link: Link
) -> None:
    assert (".pem" in configured(Row(kind, kind, link=link))) == (link is Link.TLS)


def test_a_tcp_proxy_knows_nothing_of_http2(configured: Callable[[Row], str]) -> None:
    rows = plan.rows_for([OURS], plan.Choice(), CALLS)

    assert "proto h2" not in configured(next(row for row in rows if row.variant == "tcp"))


@pytest.mark.parametrize("row", EVERY, ids=name_of)
def test_the_access_log_is_written_exactly_when_the_row_says_so(configured: Callable[[Row], str], row: Row) -> None:
    assert ("access.log" in configured(row)) == row.log


@pytest.mark.parametrize("row", [row for row in EVERY if row.kind in {"traefik", "caddy"}], ids=name_of)
def test_programs_in_go_get_as_many_processors_as_others_get_workers(tmp_path: Path, row: Row) -> None:
    place = Place(tmp_path, 8080, (9001,), 2, certificate.make(tmp_path))

    assert command(row, place, AnyProgram(tmp_path)).env["GOMAXPROCS"] == "2"


def test_an_earlier_build_is_found_by_its_path(tmp_path: Path) -> None:
    row = plan.rows_of(Build("before", "/venv/bin/python", "/elsewhere"))[1]

    start = command(row, Place(tmp_path, 8080, (9001,), 1), AnyProgram(tmp_path))

    assert start.env == {"PYTHONPATH": "/elsewhere"}
    assert start.argv[:4] == ["/venv/bin/python", "-m", "equipoise", "run"]


def test_another_balancer_gets_port_targets_and_workers(tmp_path: Path) -> None:
    row = Row("own", "other", command="own --listen {port} --to {targets} -n {workers}")

    start = command(row, Place(tmp_path, 8080, (9001, 9002), 3), AnyProgram(tmp_path))

    assert start.argv == ["own", "--listen", "8080", "--to", "127.0.0.1:9001,127.0.0.1:9002", "-n", "3"]


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingProgram, match="no-such-balancer is not installed"):
        Programs(tmp_path).find("no-such-balancer")

from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import plan
from benchmarks.model import Build, Row
from benchmarks.rows import MissingProgram, Place, Programs, command


class AnyProgram(Programs):
    def find(self, name: str) -> str:
        return f"/programs/{name}"


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[Row], str]:
    def configure(row: Row) -> str:
        folder = tmp_path / row.name.replace("/", "-")
        folder.mkdir()
        command(row, Place(folder, 8080, (9001, 9002), 2), AnyProgram(tmp_path))
        return "\n".join(path.read_text() for path in sorted(folder.iterdir()))

    return configure


EVERY = (*plan.PEERS, *plan.BIG_BODY_PEERS, *plan.VARIANTS, *plan.rows_of(Build("equipoise", "python3")))


@pytest.mark.parametrize("row", EVERY, ids=lambda row: row.name)
def test_a_configuration_names_the_port_and_every_target(configured: Callable[[Row], str], row: Row) -> None:
    text = configured(row)

    assert all(port in text for port in ("8080", "9001", "9002"))


@pytest.mark.parametrize("row", EVERY, ids=lambda row: row.name)
def test_the_access_log_is_written_exactly_when_the_row_says_so(configured: Callable[[Row], str], row: Row) -> None:
    assert ("access.log" in configured(row)) == row.log


@pytest.mark.parametrize("row", [row for row in EVERY if row.kind in {"traefik", "caddy"}], ids=lambda row: row.name)
def test_programs_in_go_get_as_many_processors_as_others_get_workers(tmp_path: Path, row: Row) -> None:
    start = command(row, Place(tmp_path, 8080, (9001,), 2), AnyProgram(tmp_path))

    assert start.env["GOMAXPROCS"] == "2"


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

"""deploy.sh with a Docker that writes down: what it asks, in which order, and how it goes back."""

import subprocess
from pathlib import Path

import pytest

from tests.support.fake_docker import FakeDocker
from tests.support.shipping import ROOT

NEW, OLD = "equipoise:2", "sha256:old"


@pytest.fixture
def docker(tmp_path: Path) -> FakeDocker:
    return FakeDocker(tmp_path)


def deploy(docker: FakeDocker, *words: str) -> "subprocess.CompletedProcess[str]":
    return docker.run(["bash", str(ROOT / "deploy.sh"), *words], {"EQUIPOISE_IMAGE": NEW, "CONFIG": "/etc/e"})


def runs_already(docker: FakeDocker) -> None:
    docker.says("compose ps", "c0ffee\n")
    docker.says("inspect", f"{OLD}\n")


def order(docker: FakeDocker) -> list[str]:
    return [call[1] for call in docker.calls("compose")]


def test_the_configuration_is_checked_by_the_new_image_before_anything_is_replaced(docker: FakeDocker) -> None:
    assert deploy(docker).returncode == 0
    assert order(docker) == ["ps", "pull", "run", "up"]
    assert docker.calls("compose run")[0][-1] == "check"
    assert docker.images("compose run") == [NEW]


def test_it_waits_until_the_new_one_is_ready(docker: FakeDocker) -> None:
    deploy(docker)
    assert "--wait" in docker.calls("compose up")[0]


def test_a_bad_configuration_changes_nothing(docker: FakeDocker) -> None:
    runs_already(docker)
    docker.fails("compose run")
    done = deploy(docker)
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert docker.calls("compose up") == []


def test_one_that_does_not_get_ready_makes_way_for_the_one_before(docker: FakeDocker) -> None:
    runs_already(docker)
    docker.fails("compose up", image=NEW)
    done = deploy(docker)
    assert done.returncode == 1
    assert docker.images("compose up") == [NEW, OLD]
    assert f"{OLD} is back" in done.stderr


def test_the_first_one_that_does_not_get_ready_is_told(docker: FakeDocker) -> None:
    docker.fails("compose up")
    done = deploy(docker)
    assert done.returncode == 1
    assert "there was none before it" in done.stderr
    assert len(docker.calls("compose up")) == 1


def test_an_image_that_was_built_here_need_not_be_in_a_registry(docker: FakeDocker) -> None:
    docker.fails("compose pull")
    assert deploy(docker).returncode == 0


def test_an_image_that_is_nowhere_is_told(docker: FakeDocker) -> None:
    docker.fails("compose pull")
    docker.fails("image inspect")
    done = deploy(docker)
    assert done.returncode == 1
    assert f"there is no image {NEW}" in done.stderr
    assert docker.calls("compose up") == []


def test_a_reload_replaces_nothing(docker: FakeDocker) -> None:
    assert deploy(docker, "reload").returncode == 0
    assert order(docker) == ["run", "exec"]
    assert docker.calls("compose exec")[0][-2:] == ["equipoise", "reload"]


def test_a_bad_file_is_not_reloaded(docker: FakeDocker) -> None:
    docker.fails("compose run")
    assert deploy(docker, "reload").returncode == 1
    assert docker.calls("compose exec") == []


def test_wrong_usage_is_told_and_nothing_is_asked(docker: FakeDocker) -> None:
    done = deploy(docker, "remove")
    assert (done.returncode, docker.calls()) == (2, [])

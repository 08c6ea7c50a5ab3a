"""What was changed outlives the process, whole, whenever and however it ends."""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.support.admin import Admin
from tests.scenarios.support.balancer import Balancer, Setting, environment
from tests.scenarios.support.client import fetch
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Stage, answer, says

Start = Callable[..., Balancer]
SETTING = Setting(workers=2, admin=True)


@pytest.fixture
def start(stage: Stage, tmp_path: Path) -> Iterator[Start]:
    """Starts balancers one after the other, all in the same folder."""
    assert stage.targets == []
    with ExitStack() as balancers:

        def start(text: str, overlay: object = None, version: int = 1) -> Balancer:
            """With `overlay` as if an earlier one had kept it."""
            if overlay is not None:
                keep(tmp_path / "state", overlay, version)
            return balancers.enter_context(Balancer(tmp_path, text))

        yield start


def keep(folder: Path, overlay: object, version: int) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    state = {"format": 1, "version": version, "digest": "of another configuration", "overlay": overlay}
    (folder / "state.json").write_text(json.dumps(state))


def state(balancer: Balancer) -> Any:
    return json.loads(balancer.state_file.read_text())


def kill(balancer: Balancer) -> None:
    """As a crash would; its workers notice by themselves."""
    workers = balancer.workers
    balancer.process.kill()
    balancer.process.wait()
    eventually(lambda: not any(runs(pid) for pid in workers))


def runs(pid: int) -> bool:
    """Whether a process is more than an entry that its new parent has not looked at."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def target_of(url: str, **settings: object) -> dict[str, object]:
    return {"url": url, "name": "added", "weight": 1, "max_in_flight": 0, "state": "up", **settings}


def test_the_first_start_keeps_version_1(stage: Stage, start: Start) -> None:
    balancer = start(SETTING.text([stage.target().url]))
    kept = state(balancer)
    assert (kept["format"], kept["version"], kept["overlay"]) == (1, 1, {})


def test_what_was_kept_is_laid_over_the_file_at_the_start(stage: Stage, start: Start) -> None:
    stage.target()
    added = stage.target(says(answer("200 OK", b"added")))
    overlay = {"pools": {"default": {"added": {"added": target_of(added.url)}}}}
    assert fetch(start(SETTING.text([]), overlay).port).body == b"added"


def test_a_reload_of_the_file_keeps_what_was_changed(stage: Stage, start: Start) -> None:
    first, second = stage.target(says(answer("200 OK", b"first"))), stage.target(says(answer("200 OK", b"second")))
    overlay = {"pools": {"default": {"changed": {second.name: {"state": "draining"}}}}}
    balancer = start(SETTING.text([first.url]), overlay)
    assert fetch(balancer.port).body == b"first"
    reloaded = balancer.reload(SETTING.text([first.url, second.url]))
    assert (reloaded["event"], reloaded["changed"]) == ("reloaded", True)
    assert {fetch(balancer.port).body for _ in range(8)} == {b"first"}
    assert balancer.find("target draining", target=second.name)
    assert state(balancer)["overlay"] == overlay


def test_a_reload_that_changes_something_raises_the_version_and_another_does_not(stage: Stage, start: Start) -> None:
    first, second = stage.target(), stage.target()
    balancer = start(SETTING.text([first.url]))
    assert balancer.reload(SETTING.text([first.url]))["version"] == 1
    assert balancer.reload(SETTING.text([first.url, second.url]))["version"] == 2
    assert balancer.reload(SETTING.text([first.url, second.url]))["changed"] is False
    assert state(balancer)["version"] == 2


def test_health_does_not_move_the_version(stage: Stage, start: Start) -> None:
    setting = Setting(workers=2, admin=True, pool='[pools.default.health]\ninterval = "50ms"')
    target = stage.target()
    balancer = start(setting.text([target.url, "http://127.0.0.1:1"]))
    balancer.wait_for("target down")
    assert balancer.reload(setting.text([target.url, "http://127.0.0.1:1"]))["version"] == 1


def test_a_refused_reload_leaves_what_was_kept(stage: Stage, start: Start) -> None:
    balancer = start(SETTING.text([stage.target().url]))
    before = balancer.state_file.read_bytes()
    assert balancer.reload("listen = 3")["event"] == "reload refused"
    assert balancer.state_file.read_bytes() == before


def test_after_a_kill_the_version_is_the_same(stage: Stage, start: Start) -> None:
    first, second = stage.target(), stage.target()
    balancer = start(SETTING.text([first.url]))
    text = SETTING.text([first.url, second.url])
    balancer.reload(text)
    before = state(balancer)
    kill(balancer)
    again = start(text)
    assert state(again) == before
    assert Admin(again).status()["version"] == before["version"] == 2


def test_a_file_that_changed_while_nothing_ran_raises_the_version(stage: Stage, start: Start) -> None:
    first, second = stage.target(), stage.target()
    kill(start(SETTING.text([first.url])))
    assert state(start(SETTING.text([first.url, second.url])))["version"] == 2


@pytest.mark.parametrize("data", ["", '{"format": 1, "vers', '{"format": 1, "version": 1}', "\0" * 100])
def test_a_damaged_state_is_refused_with_its_name_and_what_to_do(tmp_path: Path, data: str) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "state.json").write_text(data)
    balancer = Balancer(tmp_path, SETTING.text(["http://127.0.0.1:1"]))
    assert balancer.wait_exit() == 1
    (event,) = balancer.find("cannot start")
    assert "the state file state/state.json is damaged" in event["reason"]
    assert "move it away" in event["reason"]
    assert not balancer.find("worker started")
    assert (tmp_path / "state" / "state.json").read_text() == data


def test_changes_that_fit_no_longer_are_refused_with_their_place(tmp_path: Path) -> None:
    keep(tmp_path / "state", {"pools": {"default": {"algorithm": "python:gone:Class"}}}, 3)
    balancer = Balancer(tmp_path, SETTING.text(["http://127.0.0.1:1"]))
    assert balancer.wait_exit() == 1
    assert "pools.default.algorithm" in balancer.find("cannot start")[0]["reason"]


def test_a_second_balancer_in_the_same_state_directory_is_refused(stage: Stage, start: Start, tmp_path: Path) -> None:
    balancer = start(SETTING.text([stage.target().url]))
    (tmp_path / "second").mkdir()
    text = balancer.config.read_text().replace('"state"', json.dumps(str(tmp_path / "state")))
    second = Balancer(tmp_path / "second", text)
    assert second.wait_exit() == 1
    assert "another balancer uses the state directory" in second.find("cannot start")[0]["reason"]
    assert fetch(balancer.port).status == 200


def test_without_an_admin_api_what_was_kept_is_used_and_nothing_is_written(stage: Stage, start: Start) -> None:
    stage.target()
    added = stage.target(says(answer("200 OK", b"added")))
    balancer = start(Setting().text([]), {"pools": {"default": {"added": {"added": target_of(added.url)}}}}, 4)
    before = balancer.state_file.read_bytes()
    assert fetch(balancer.port).body == b"added"
    balancer.reload(Setting(pool='algorithm = "random"').text([]))
    assert balancer.state_file.read_bytes() == before
    assert [path.name for path in balancer.state_file.parent.iterdir()] == ["state.json"]


def test_without_an_admin_api_no_state_directory_is_made(stage: Stage, start: Start) -> None:
    balancer = start(Setting().text([stage.target().url]))
    assert not balancer.state_file.parent.exists()


@pytest.mark.parametrize("moment", [1, 4, 9])
def test_a_kill_amid_writes_leaves_the_last_acknowledged_or_the_one_under_way(
    stage: Stage, start: Start, moment: int
) -> None:
    """Each write makes the weight what its version will be, so what is kept shows which writes were done."""
    target = stage.target()
    text = SETTING.text([target.url])
    balancer = start(text)
    admin = Admin(balancer)
    admin.token()
    acknowledged = [1]
    enough = threading.Event()

    def write() -> None:
        path = f"/v1/pools/default/targets/{target.name}"
        try:
            while True:
                version = acknowledged[-1] + 1
                done = admin.done("PATCH", path, {"weight": version})
                assert (done["version"], done["weight"]) == (version, version)
                acknowledged.append(version)
                if len(acknowledged) > moment:
                    enough.set()
        except (OSError, HTTPException):
            return  # it was killed

    writer = threading.Thread(target=write)
    writer.start()
    assert enough.wait(20)
    kill(balancer)
    writer.join()
    again = Admin(start(text))
    version = again.status()["version"]
    assert version in {acknowledged[-1], acknowledged[-1] + 1}
    assert again.target(target.name)["weight"] == version
    assert again.done("PATCH", f"/v1/pools/default/targets/{target.name}", {"weight": 1})["version"] == version + 1


def test_a_balancer_that_was_asked_to_stop_keeps_its_changes(stage: Stage, start: Start) -> None:
    target = stage.target()
    text = SETTING.text([target.url])
    balancer = start(text)
    Admin(balancer).done("PATCH", f"/v1/pools/default/targets/{target.name}", {"state": "down"})
    balancer.signal(signal.SIGTERM)
    assert balancer.wait_exit() == 0
    assert fetch(start(text).port).status == 503


def test_the_environment_names_the_state_directory_when_the_file_does_not(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "kept"))
    assert environment()["STATE_DIRECTORY"]
    text = SETTING.text([stage.target().url]).replace('state_dir = "state"\n', "")
    with Balancer(tmp_path, text):
        assert (tmp_path / "kept" / "state.json").exists()

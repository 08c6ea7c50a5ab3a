"""The whole balancer as a process: its file, its signals, its exit codes, its log."""

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from equipoise.config.edits import ChangeTarget, RemoveTarget, SetAlgorithm, SetCache
from equipoise.config.overlay import UnknownNameError
from equipoise.runtime.supervisor import closed_meanwhile
from tests.unit.runtime.parts import answer_of, free_port, get, port_of, tiny_target
from tests.unit.runtime.running import A, Running, play

WAIT = 30
ROOT = Path(__file__).parents[3]
RUN = "import sys, pathlib; from equipoise.runtime.launch import run; sys.exit(run(pathlib.Path(sys.argv[1])))"


class Balancer:
    """A running supervisor with two workers, and its log."""

    def __init__(self, folder: Path, text: str, face: str = "") -> None:
        self.folder = folder
        self._face = face
        self.file = folder / "equipoise.toml"
        self.write(text)
        self._log = folder / "app.log"
        with self._log.open("w") as log:
            command = ["-m", "tests.unit.runtime.faced", str(self.file), face] if face else ["-c", RUN, str(self.file)]
            self.process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment(), stderr=log)

    def write(self, text: str, listen: str = "127.0.0.1:0") -> None:
        head = f'listen = "{listen}"\nworkers = 2\n'
        tail = f'\n[access_log]\npath = "{self.folder}/access.log"\n[admin]\nlisten = "127.0.0.1:0"\n'
        admin = f"enabled = {str(bool(self._face)).lower()}\n"
        self.file.write_text(f'state_dir = "{self.folder}/state"\n{head}{text}{tail}{admin}')

    @property
    def lines(self) -> list[dict[str, object]]:
        found = []
        for line in self._log.read_text().splitlines(keepends=True):
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"event": line})
        return found

    def said(self, event: str, count: int = 1) -> dict[str, object]:
        """Wait until the log has so many lines of an event; the last of them."""

        def found() -> list[dict[str, object]]:
            return [line for line in self.lines if line["event"] == event]

        self.until(lambda: len(found()) >= count)
        return found()[-1]

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < deadline, self._log.read_text()
            assert self.process.poll() is None or condition(), self._log.read_text()
            time.sleep(0.01)

    @property
    def port(self) -> int:
        return port_of(self.said("listening")["address"])

    @property
    def workers(self) -> list[int]:
        """Process ids of the last worker in each row."""
        rows = {line["row"]: line["pid"] for line in self.lines if line["event"] == "worker started"}
        return [int(str(pid)) for _, pid in sorted(rows.items(), key=lambda item: str(item[0]))]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def exit_code(self) -> int:
        return self.process.wait(WAIT)


def environment() -> dict[str, str]:
    """For a process that starts in another folder: PYTHONPATH may be relative to where the tests were started."""
    path = os.pathsep.join(str(Path(part).resolve()) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return {**os.environ, "PYTHONPATH": path}


@contextmanager
def balancer(folder: Path, text: str, face: str = "") -> Iterator[Balancer]:
    running = Balancer(folder, text, face)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()
        for pid in running.workers:  # they drain by themselves; a test does not wait for that
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def ready(folder: Path, text: str, face: str = "") -> Iterator[Balancer]:
    with balancer(folder, text, face) as running:
        running.said("ready")
        yield running


def pool_of(*ports: int, more: str = "") -> str:
    targets = ", ".join(f'"http://127.0.0.1:{port}"' for port in ports)
    return f"[pools.default]\ntargets = [{targets}]\n{more}"


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# Start


def test_it_serves_on_the_port_that_it_announces(tmp_path: Path) -> None:
    with tiny_target() as target, ready(tmp_path, pool_of(target.port)) as running:
        assert get(running.port) == 200


def test_it_says_in_which_mode_it_runs(tmp_path: Path, compiled: bool) -> None:
    with ready(tmp_path, pool_of()) as running:
        assert running.said("starting")["compiled"] is compiled
        assert any(str(line["event"]).startswith("INTERPRETED") for line in running.lines) is not compiled


def test_a_bad_file_is_exit_code_2_with_every_problem(tmp_path: Path) -> None:
    with balancer(tmp_path, 'algoritm = 1\n[pools.default]\ntargets = ["ftp://a"]') as running:
        assert running.exit_code() == 2
        text = "".join(str(line["event"]) for line in running.lines)
        assert "algoritm" in text
        assert "ftp" in text


def test_a_port_that_is_taken_is_exit_code_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        running = Balancer(tmp_path, "")
        running.process.kill()
        running.process.wait()
        running.write(pool_of(), listen=f"127.0.0.1:{other.getsockname()[1]}")
        second = subprocess.run(
            [sys.executable, "-c", RUN, str(running.file)], stderr=subprocess.PIPE, timeout=WAIT, check=False, text=True
        )
    assert second.returncode == 1
    assert "another process listens there already" in second.stderr


# Stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_is_a_drain_and_exit_code_0(tmp_path: Path, number: int) -> None:
    with ready(tmp_path, pool_of()) as running:
        running.signal(number)
        assert running.exit_code() == 0
        assert not [line for line in running.lines if line.get("level") == "error"]


def test_a_request_in_flight_survives_a_stop_signal(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as slow, ready(tmp_path, pool_of(port_at(slow))) as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=WAIT) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            with answer_of(slow) as connection:
                running.signal(signal.SIGTERM)
                running.said("draining")
                connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                assert client.recv(65536).startswith(b"HTTP/1.1 204")
        assert running.exit_code() == 0


def test_after_a_stop_signal_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as slow, ready(tmp_path, pool_of(port_at(slow))) as running:
        port = running.port
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            with answer_of(slow):
                running.signal(signal.SIGTERM)
                running.until(lambda: refuses(port))
                assert running.process.poll() is None


def test_a_second_stop_signal_is_obeyed_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ready(tmp_path, pool_of(port_at(silent))) as running:
        client = socket.create_connection(("127.0.0.1", running.port), timeout=WAIT)
        client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        with client, answer_of(silent):
            running.signal(signal.SIGTERM)
            running.said("draining")
            running.signal(signal.SIGTERM)
            assert running.exit_code() == 0


def test_when_the_supervisor_is_killed_nothing_holds_the_port(tmp_path: Path) -> None:
    with ready(tmp_path, pool_of()) as running:
        port, workers = running.port, running.workers
        running.process.kill()
        running.process.wait()
        deadline = time.monotonic() + WAIT
        while any(alive(pid) for pid in workers):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        socket.create_server(("127.0.0.1", port)).close()


# Change


def test_a_reload_changes_the_targets(tmp_path: Path) -> None:
    with tiny_target() as target, ready(tmp_path, pool_of()) as running:
        assert get(running.port) == 503
        running.write(pool_of(target.port))
        running.signal(signal.SIGHUP)
        running.said("reloaded")
        assert [get(running.port) for _ in range(8)] == [200] * 8


def test_a_bad_reload_changes_nothing_and_says_why(tmp_path: Path) -> None:
    with tiny_target() as target, ready(tmp_path, pool_of(target.port)) as running:
        running.write('[pools.default]\ntargets = []\nalgorithm = "best"')
        running.signal(signal.SIGHUP)
        refused = running.said("reload refused")
        assert refused["path"] == "pools.default.algorithm"
        assert get(running.port) == 200


def test_a_reload_that_needs_other_sockets_is_refused_whole(tmp_path: Path) -> None:
    with tiny_target() as target, ready(tmp_path, pool_of(target.port)) as running:
        running.write(pool_of(), listen=f"127.0.0.1:{free_port()}")
        running.signal(signal.SIGHUP)
        assert "listen cannot change while running" in str(running.said("reload refused")["reason"])
        assert get(running.port) == 200


def test_a_reload_that_a_worker_refuses_is_undone(tmp_path: Path) -> None:
    with tiny_target() as target, ready(tmp_path, pool_of(target.port)) as running:
        text = running.file.read_text()
        running.file.write_text(text.replace(f"{tmp_path}/access.log", f"{tmp_path}/no/such/folder.log"))
        running.signal(signal.SIGHUP)
        assert "No such file" in str(running.said("reload refused")["reason"])
        running.file.write_text(text)
        running.signal(signal.SIGHUP)
        running.said("reloaded")
        assert get(running.port) == 200


def test_a_worker_started_after_a_reload_has_the_new_world(tmp_path: Path) -> None:
    with tiny_target() as target, ready(tmp_path, pool_of()) as running:
        running.write(pool_of(target.port))
        running.signal(signal.SIGHUP)
        running.said("reloaded")
        for pid in running.workers:
            os.kill(pid, signal.SIGKILL)
        running.said("worker died", 2)
        assert [get(running.port) for _ in range(8)] == [200] * 8


def test_sigusr1_reopens_the_access_log(tmp_path: Path) -> None:
    with ready(tmp_path, pool_of()) as running:
        (tmp_path / "access.log").rename(tmp_path / "access.log.1")
        running.signal(signal.SIGUSR1)
        running.until((tmp_path / "access.log").exists)


# Health


def test_a_dead_target_is_found_without_traffic(tmp_path: Path) -> None:
    health = '[pools.default.health]\ninterval = "50ms"'
    with tiny_target() as target, ready(tmp_path, pool_of(target.port, free_port(), more=health)) as running:
        assert str(running.said("target down")["reason"]).startswith("health probe failed")
        assert [get(running.port) for _ in range(8)] == [200] * 8


def test_a_target_that_answers_again_gets_traffic_again(tmp_path: Path) -> None:
    port = free_port()
    health = '[pools.default.health]\ninterval = "50ms"\ndown_interval = "50ms"'
    with ready(tmp_path, pool_of(port, more=health)) as running:
        running.said("target down")
        with socket.create_server(("127.0.0.1", port)) as target:
            running.said("target up")
            with socket.create_connection(("127.0.0.1", running.port), timeout=WAIT) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
                with answer_of(target) as connection:
                    connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                assert client.recv(65536).startswith(b"HTTP/1.1 204")


def test_a_target_without_probes_comes_back_by_itself(tmp_path: Path) -> None:
    health = '[pools.default.health]\ntype = "none"\n[pools.default.health.passive]\neject_min = "100ms"'
    with ready(tmp_path, pool_of(free_port(), more=health)) as running:
        assert get(running.port) in {502, 503}
        running.said("target down")
        running.said("target up")


def test_a_name_that_does_not_resolve_stops_nobody(tmp_path: Path) -> None:
    with tiny_target() as target:
        text = f'[pools.default]\ntargets = ["http://localhost:{target.port}", "http://no-such-name.invalid:80"]\n'
        with ready(tmp_path, text) as running:
            assert running.said("target down")["reason"] == "name does not resolve"
            assert [get(running.port) for _ in range(8)] == [200] * 8


# The face


def ask(running: Balancer) -> dict[str, object]:
    with socket.create_connection(("127.0.0.1", port_of(running.said("admin API listening")["address"])), WAIT) as sock:
        told = json.loads(sock.makefile().readline())
    assert isinstance(told, dict)
    return told


def test_the_face_gets_the_supervisor_and_a_socket_at_the_address_that_is_announced(tmp_path: Path) -> None:
    with tiny_target() as target, ready(tmp_path, pool_of(target.port), "well") as running:
        assert ask(running) == {"ready": None, "version": 1, "draining": False}


def test_without_a_face_nobody_listens_for_calls(tmp_path: Path) -> None:
    with ready(tmp_path, pool_of()) as running:
        assert "admin API listening" not in [line["event"] for line in running.lines]


def test_a_face_that_breaks_is_told_and_begins_again_on_its_socket(tmp_path: Path) -> None:
    with tiny_target() as target, ready(tmp_path, pool_of(target.port), "breaks") as running:
        running.said("admin API broke and start again")
        assert ask(running)["ready"] is None
        assert get(running.port) == 200


def test_the_face_stays_while_the_balancer_drains_and_leaves_with_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as slow, ready(tmp_path, pool_of(port_at(slow)), "well") as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=WAIT) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            with answer_of(slow) as connection:
                running.signal(signal.SIGTERM)
                running.said("draining")
                assert ask(running) == {"ready": "draining", "version": 1, "draining": True}
                connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                client.recv(65536)
        assert running.exit_code() == 0
        running.said("the face left")


def test_what_the_check_refuses_is_exit_code_1_before_anything_runs(tmp_path: Path) -> None:
    with balancer(tmp_path, pool_of(), "unfit") as running:
        assert running.exit_code() == 1
        assert running.said("cannot start")["reason"] == "the admin API has no key"
        assert running.workers == []


def test_a_second_balancer_in_the_same_state_directory_is_exit_code_1(tmp_path: Path) -> None:
    with ready(tmp_path, pool_of(), "well") as running:
        command = [sys.executable, "-m", "tests.unit.runtime.faced", str(running.file), "well"]
        second = subprocess.run(
            command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, timeout=WAIT, check=False, text=True
        )
        assert second.returncode == 1
        assert "another balancer uses the state directory" in second.stderr


# What the admin API asks for


def test_the_status_is_plain_data_with_everything_in_it(tmp_path: Path) -> None:
    async def test(inside: Running) -> None:
        await inside.changes.edit(ChangeTarget("p", A, state="draining"))
        status = json.loads(json.dumps(inside.supervisor.status()))
        assert (status["version"], status["draining"], len(status["workers"])) == (2, False, 2)
        assert {worker["version"] for worker in status["workers"]} == {2}
        assert [target["health"] for target in status["pools"]["p"]["targets"]] == ["draining", "up"]
        assert status["pools"]["p"]["targets"][0] | {"since": ""} == inside.supervisor.target("p", A) | {"since": ""}

    play(tmp_path, test)


def test_a_target_or_pool_that_is_not_there_is_told(tmp_path: Path) -> None:
    async def test(inside: Running) -> None:
        with pytest.raises(UnknownNameError, match="no pool"):
            inside.supervisor.target("nope", A)
        with pytest.raises(UnknownNameError, match="no target"):
            inside.supervisor.target("p", "nope")

    play(tmp_path, test)


def test_configuration_and_differences_are_in_the_files_own_terms(tmp_path: Path) -> None:
    async def test(inside: Running) -> None:
        await inside.supervisor.edit(SetAlgorithm("p", "random"))
        told = json.loads(json.dumps(inside.supervisor.configuration()))
        assert (told["version"], told["config"]["pools"]["p"]["algorithm"]) == (2, "random")
        assert told["config"]["limits"]["idle_timeout"] == "75s"
        assert inside.supervisor.differences() == [
            {"place": "pools.p.algorithm", "file": "least_in_flight", "running": "random"}
        ]
        assert inside.supervisor.file.pools["p"].algorithm == "least_in_flight"

    play(tmp_path, test)


def test_a_cache_is_in_the_status_and_has_its_settings_in_the_files_own_terms(tmp_path: Path) -> None:
    async def test(inside: Running) -> None:
        await inside.supervisor.edit(SetCache("p", {"enabled": True, "ttl": "90s"}))
        told = inside.supervisor.cache("p")
        assert (told["enabled"], told["ttl"], told["entries"], told["settings"]["ttl"]) == (True, 90.0, 0, "90s")
        assert inside.supervisor.status()["pools"]["p"]["cache"] == {
            key: value for key, value in told.items() if key != "settings"
        }

    play(tmp_path, test)


def test_a_purge_is_logged_and_told(tmp_path: Path) -> None:
    async def test(inside: Running) -> None:
        await inside.supervisor.edit(SetCache("p", {"enabled": True}))
        assert await inside.supervisor.purge("p", "/img/", is_prefix=True) == 0
        line = inside.log.lines[-1]
        assert (line["event"], line["pool"], line["path"], line["prefix"]) == ("cache purged", "p", "/img/", True)
        assert inside.supervisor.events.recent()[-1]["what"] == "cache of pool p purged: 0 answers of /img/..."
        assert inside.supervisor.version == 2

    play(tmp_path, test)


def test_the_cache_of_a_pool_that_is_not_there_is_told(tmp_path: Path) -> None:
    async def test(inside: Running) -> None:
        with pytest.raises(UnknownNameError, match="no pool"):
            inside.supervisor.cache("nope")
        with pytest.raises(UnknownNameError, match="no pool"):
            await inside.supervisor.purge("nope")

    play(tmp_path, test)


def test_a_removed_target_is_gone_from_the_status_when_nothing_is_in_flight_there(tmp_path: Path) -> None:
    async def test(inside: Running) -> None:
        await inside.supervisor.edit(RemoveTarget("p", A))
        assert inside.supervisor.target("p", A)["health"] == "draining"
        keeping = asyncio.get_running_loop().create_task(inside.supervisor._keep_house())
        while inside.supervisor.table.leaving("p", A) is not None:  # noqa: ASYNC110 -- it has no event
            await asyncio.sleep(0.01)
        keeping.cancel()

    play(tmp_path, test)


def port_at(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def refuses(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(0.5)
        try:
            sock.connect(("127.0.0.1", port))
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
        return False


@pytest.mark.parametrize(
    ("message", "error", "harmless"),
    [
        (
            "Fatal error on SSL protocol",
            RuntimeError("unable to perform operation on <...>; the handler is closed"),
            True,
        ),
        ("Fatal error on SSL protocol", RuntimeError("something else"), False),
        ("Fatal error on SSL protocol", ValueError("the handler is closed"), False),
        ("a callback broke", RuntimeError("the handler is closed"), False),
        ("Fatal error on SSL protocol", None, False),
        ("Future exception was never retrieved", ssl.SSLCertVerificationError("self-signed"), True),
        ("Future exception was never retrieved", ValueError("something else"), False),
    ],
)
def test_only_a_probe_that_was_given_up_while_tls_went_on_is_no_defect(
    message: str, error: Exception | None, harmless: bool
) -> None:
    assert closed_meanwhile({"message": message, "exception": error}) is harmless

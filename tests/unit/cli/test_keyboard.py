import os
import pty
import signal
import termios
import threading
from collections.abc import Iterator

import pytest

from equipoise.cli.keyboard import LEAVE, SUSPEND, Keyboard


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The end of a terminal at which a person types; the other one is standard input."""
    person, program = pty.openpty()
    with os.fdopen(program, "r") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield person
    os.close(person)


def mode(monkeypatched: int) -> list[object]:
    return list(termios.tcgetattr(monkeypatched))


def test_a_key_needs_no_enter(terminal: int) -> None:
    with Keyboard() as keyboard:
        os.write(terminal, b"s")
        assert keyboard.wait() == "s"


def test_several_keys_come_together(terminal: int) -> None:
    with Keyboard() as keyboard:
        os.write(terminal, b"ps")
        assert "".join(keyboard.wait() for _ in range(1)) in {"ps", "p"}


def test_the_terminal_is_put_back(terminal: int) -> None:
    before = mode(terminal)
    with Keyboard():
        assert mode(terminal) != before
    assert mode(terminal) == before


@pytest.mark.usefixtures("terminal")
def test_another_thread_can_wake_the_reader() -> None:
    with Keyboard() as keyboard:
        thread = threading.Thread(target=keyboard.wake)
        thread.start()
        assert keyboard.wait() == ""
        thread.join()


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("number", "key"),
    [(signal.SIGWINCH, ""), (signal.SIGTERM, LEAVE), (signal.SIGHUP, LEAVE), (signal.SIGTSTP, SUSPEND)],
)
def test_a_signal_wakes_the_reader_as_a_key(number: signal.Signals, key: str) -> None:
    with Keyboard() as keyboard:
        os.kill(os.getpid(), number)
        assert keyboard.wait() == key


@pytest.mark.usefixtures("terminal")
def test_signals_are_what_they_were_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Keyboard():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_without_a_terminal_there_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    ear, mouth = os.pipe()
    with os.fdopen(ear, "r") as stdin, os.fdopen(mouth, "w") as out:
        monkeypatch.setattr("sys.stdin", stdin)
        out.write("q")
        out.flush()
        with Keyboard() as keyboard:
            keyboard.wake()
            assert keyboard.wait() == ""


@pytest.mark.usefixtures("terminal")
def test_waking_after_the_end_is_nothing() -> None:
    with Keyboard() as keyboard:
        pass
    keyboard.wake()

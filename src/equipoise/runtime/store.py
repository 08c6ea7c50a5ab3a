"""What outlives the process: the state file and the lock beside it.

Owns: `<state_dir>/state.json`, how it is written so that it is whole at any moment, and who may write it.
Refuses to know: what the overlay means (config), when something is worth keeping (`changes`).

A state is prepared (a second file, on the disk) and then committed (it takes the first one's name). Whoever loses power
in between finds the state before, whoever loses it afterwards the one after, and nobody finds half of one.
"""

import fcntl
import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from equipoise.config.load import ConfigError
from equipoise.config.overlay import Overlay, check_values, check_whole, merge, trimmed
from equipoise.config.schema import Config
from equipoise.runtime.startup import UnfitError

FORMAT: Final = 1
_DETERMINISTIC: Final = msgspec.json.Encoder(order="deterministic")


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The state file."""

    format: int = FORMAT
    version: int
    digest: str
    overlay: Overlay = Overlay()


class _Format(msgspec.Struct, frozen=True):
    """As much of a state file as every version of Equipoise can read."""

    format: int


class StoreError(Exception):
    """The state cannot be kept; the text says why."""


class Store:
    """The state of one balancer on the disk."""

    def __init__(self, folder: Path, *, writable: bool) -> None:
        """Nothing is read or written yet.

        Args:
            folder: the state directory.
            writable: False for a balancer whose configuration nobody can edit: it reads and leaves no trace.
        """
        self.path = folder / "state.json"
        self._folder = folder
        self._writable = writable
        self._fresh = folder / "state.json.new"
        self._lock: int | None = None

    @property
    def lock(self) -> int | None:
        """Descriptor of the lock, for another process to hold it too: whoever has it has the lock."""
        return self._lock

    def open(self, inherited: int | None = None) -> None:
        """Make the directory and take its lock, which is held for life.

        Args:
            inherited: descriptor of a lock that this process shares with the one before it; it is used where it is that
                of this very directory, and closed where not.

        Raises:
            UnfitError: another balancer has it, or the directory cannot be used.
        """
        if inherited is not None:
            if self._writable and self._is_mine(inherited):
                self._lock = inherited
                return
            os.close(inherited)
        if not self._writable:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise UnfitError(
                f"another balancer uses the state directory {self._folder}; end it, or give this one a state_dir of "
                "its own"
            ) from None
        except OSError as error:
            self.close()
            raise UnfitError(
                f"the state directory {self._folder} cannot be used: {error.strerror}; set state_dir to a directory "
                "that this user may write, or [admin] enabled = false"
            ) from error

    def _is_mine(self, lock: int) -> bool:
        try:
            os.set_inheritable(lock, False)
            return os.path.samestat(os.fstat(lock), (self._folder / "lock").stat())
        except OSError:
            return False

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read(self) -> State | None:
        """The state that was committed last, None when there has never been one.

        Raises:
            UnfitError: the file is there and cannot be understood. It holds what people asked for, so it is never
                passed over.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unfit(f"cannot be read: {error.strerror}") from error
        try:
            if msgspec.json.decode(data, type=_Format).format != FORMAT:
                raise self._unfit("was written by another version of Equipoise")
            return msgspec.json.decode(data, type=State)
        except msgspec.MsgspecError as error:
            raise self._unfit(f"is damaged: {error}") from error
        except RecursionError as error:
            raise self._unfit("is damaged: nested too deeply") from error

    def prepare(self, state: State) -> None:
        """Put a state on the disk without it being the one that counts. May block for as long as the disk does.

        Raises:
            StoreError: the disk is full, say. The state that counts is as it was.
        """
        if not self._writable:
            return
        try:
            fd = os.open(self._fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")
                file.flush()
                os.fsync(fd)
        except OSError as error:
            raise self._failed(error) from error

    def commit(self) -> None:
        """Make what was prepared the state that counts. May block for as long as the disk does.

        Raises:
            StoreError: it could not be done.
        """
        if not self._writable:
            return
        try:
            self._fresh.rename(self.path)
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise self._failed(error) from error

    def drop(self) -> None:
        """Forget what was prepared."""
        if self._writable:
            with suppress(OSError):
                self._fresh.unlink(missing_ok=True)

    def unfit(self, error: ConfigError) -> UnfitError:
        """What is said when the changes that were kept no longer go together with the file."""
        problems = "; ".join(str(problem) for problem in error.problems)
        return self._unfit(f"holds changes that the configuration cannot take: {problems}")

    def _unfit(self, what: str) -> UnfitError:
        return UnfitError(
            f"the state file {self.path} {what}. It holds what was changed through the admin API: mend it, or move it "
            "away to start with the configuration file alone"
        )

    def _failed(self, error: OSError) -> StoreError:
        return StoreError(f"the state cannot be kept in {self._folder}: {error.strerror}")


def digest_of(config: Config) -> str:
    """What tells two configurations apart: SHA-256, hexadecimal."""
    return hashlib.sha256(_DETERMINISTIC.encode(config)).hexdigest()


def resume(store: Store, file: Config) -> tuple[Config, State]:
    """The configuration and state to start with: the file, and over it what was changed before.

    Reads only. The version is 1 at the very first start, the same as before when nothing changed, one more when the
    file did.

    Raises:
        UnfitError: the state file is damaged, or does not go together with the file any more.
    """
    kept = store.read()
    if kept is None:
        return file, State(version=1, digest=digest_of(file))
    overlay = trimmed(file, kept.overlay)
    config = merge(file, overlay)
    try:
        check_values(config)
        check_whole(config)
    except ConfigError as error:
        raise store.unfit(error) from error
    digest = digest_of(config)
    return config, State(version=kept.version + (digest != kept.digest), digest=digest, overlay=overlay)

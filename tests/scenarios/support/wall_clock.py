"""A wall clock that jumps, for one balancer alone.

Owns: the library that is preloaded into it, and the file through which the test sets the clock.
Refuses to know: what the balancer does with the time.
"""

import mmap
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


class WallClock:
    """As the machine has it, until it is set."""

    def __init__(self, folder: Path) -> None:
        """Compiles the library into the folder."""
        self._library = folder / "wall_clock.so"
        self._seconds = folder / "wall_clock"
        self._seconds.write_bytes(bytes(8))
        command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(self._library), str(SOURCE)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
        with self._seconds.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)

    @property
    def wrapper(self) -> list[str]:
        """The command that has a program see this clock."""
        return ["env", f"LD_PRELOAD={self._library}", f"WALL_CLOCK={self._seconds}"]

    def set(self, seconds: int) -> None:
        """From now on it is so many seconds away from the machine's."""
        # One aligned store of eight bytes: nobody sees half of it.
        memoryview(self._memory).cast("q")[0] = seconds

    def close(self) -> None:
        """Gives the memory back."""
        self._memory.close()

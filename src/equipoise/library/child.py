"""The balancer as a child that does not outlive its parent: `python -m equipoise.library.child FILE`.

Owns: that the end of its standard input is an order to leave.
Refuses to know: everything else; it is `equipoise run -c FILE`.
"""

import os
import signal
import sys
import threading
from typing import Final

from equipoise.cli.app import app

# The supervisor unblocks them when there is somebody to handle them. A thread that did not block them would take them.
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def main(file: str) -> None:
    """Be the balancer; ends the process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    threading.Thread(target=_leave_with_the_parent, name="parent", daemon=True).start()
    app(["run", "--config", file], prog_name="equipoise")


def _leave_with_the_parent() -> None:
    """Whatever ends the parent, a kill included, closes the pipe."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1])

"""A balancer with a face of the tests' own: `python -m tests.unit.runtime.faced FILE HOW`.

To each connection it says in a line of JSON what `ready` says, and closes. HOW is "well"; "breaks", which breaks the
first time; or "unfit", which does not pass the check.
"""

import asyncio
import json
import socket
import sys
from itertools import count
from pathlib import Path

from equipoise.config.schema import Config
from equipoise.runtime.launch import run
from equipoise.runtime.startup import UnfitError
from equipoise.runtime.supervisor import Supervisor

_FILE, HOW = sys.argv[1:]
_TURNS = count()


async def face(supervisor: Supervisor, sock: socket.socket) -> None:
    """See `runtime.supervisor.Face`."""
    if HOW == "breaks" and next(_TURNS) == 0:
        sock.close()
        raise SystemExit(3)

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told = {"ready": supervisor.ready(), "version": supervisor.version, "draining": supervisor.draining}
        writer.write(json.dumps(told).encode() + b"\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, sock=sock)
    try:
        await asyncio.Event().wait()
    finally:
        supervisor.log.info("the face left")
        server.close()


def check(_config: Config) -> None:
    """See `runtime.supervisor.run`."""
    if HOW == "unfit":
        raise UnfitError("the admin API has no key")


if __name__ == "__main__":
    sys.exit(run(Path(_FILE), face, check))

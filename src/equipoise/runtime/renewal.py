"""Certificates and keys that are renewed while the balancer runs.

Owns: when their files are looked at, and when what changed is tried.
Refuses to know: what is in them (`tls_files`), how they come into force (`changes`).

Certificates are renewed by programs that tell nobody. A file that changed is read once it lies still: certificate and
key are rarely written in the same moment, and half a pair is no news.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from equipoise.config.problems import ConfigError
from equipoise.runtime.app_log import AppLog
from equipoise.runtime.changes import ChangeRefusedError, Changes
from equipoise.runtime.tls_files import Stamp, stamp_of

# Between two looks.
INTERVAL: Final = 2.0

Stamps = Mapping[str, Stamp | None]


class Renewal:
    """Looks at the files in use. Belongs to the event loop's thread."""

    def __init__(self, changes: Changes, log: AppLog) -> None:
        """Nothing was looked at yet.

        Args:
            changes: knows the files in use, and takes up others.
            log: told what became of a change.
        """
        self._changes = changes
        self._log = log
        # As the last look found them; as they were when it was last tried to use them.
        self._seen: Stamps = {}
        self._tried: Stamps = {}

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.look()

    async def look(self) -> None:
        """Look once; take up what changed before the last look and lay still since."""
        used = self._changes.standing.material.stamps
        if not used or self._changes.closed:
            return
        # A disk that is not there, as network disks may be, must not hold up everything else.
        found = await asyncio.to_thread(_stamps, list(used))
        still, self._seen = found == self._seen, found
        if not still or found in (self._tried, self._changes.standing.material.stamps):
            return
        self._tried = found
        changed = sorted(path for path in found if found[path] != used[path])
        try:
            if await self._changes.renew():
                self._log.info("certificates renewed", files=changed)
        except ConfigError as error:
            for problem in error.problems:
                self._log.error(
                    "certificates not renewed, the old ones stay", path=problem.path, reason=problem.message
                )
        except ChangeRefusedError as error:
            self._log.error("certificates not renewed, the old ones stay", path="", reason=str(error))


def _stamps(paths: list[str]) -> Stamps:
    return {path: stamp_of(path) for path in paths}

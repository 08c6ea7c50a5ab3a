"""The beginning of a balancer: everything between the command line and a supervisor that runs.

Owns: the order of the start, what ends it, and what is taken over from another process.
Refuses to know: what happens once it runs (`supervisor`).
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import uvloop

from equipoise.config.load import ConfigError, load
from equipoise.config.schema import Config
from equipoise.runtime.app_log import AppLog
from equipoise.runtime.changes import Standing
from equipoise.runtime.children import SIGNALS
from equipoise.runtime.handover import Ancestor, HandoverError, Legacy
from equipoise.runtime.listen import Estate
from equipoise.runtime.notify import Notifier
from equipoise.runtime.startup import (
    UnfitError,
    announce,
    check_surroundings,
    open_admin,
    open_listeners,
    raise_file_limit,
)
from equipoise.runtime.store import Store, StoreError, resume
from equipoise.runtime.supervisor import Face, Supervisor, Surroundings
from equipoise.runtime.tls_files import Reading


def run(config_path: Path, face: Face | None = None, check: Callable[[Config], None] | None = None) -> int:
    """Be the balancer until told to stop; the exit code.

    Args:
        config_path: the file.
        face: serves the admin API, where the file enables it.
        check: raises `UnfitError` when the face could not serve; called before any socket is opened.
    """
    log = AppLog(sys.stderr)
    notifier = Notifier.from_environment(os.environ, os.getpid())
    # One that comes while sockets are opened waits until there is somebody who can drain them.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    ancestor: Ancestor | None = None
    try:
        ancestor = Ancestor.from_environment(os.environ)
        reading = Reading()
        file = load(config_path, examine=reading.examine)
        check_surroundings()
        raise_file_limit()
        standing, surroundings = _settle_in(file, face, check, log, ancestor)
        standing = replace(standing, material=reading.material)
        reading.material.tell(log)
    except ConfigError as error:
        for problem in error.problems:
            print(f"{config_path}: {problem}", file=sys.stderr)  # noqa: T201 -- for the person at the terminal
        if ancestor is not None:
            ancestor.fail("; ".join(f"{config_path}: {problem}" for problem in error.problems))
        return 2
    except (UnfitError, HandoverError) as error:
        log.error("cannot start", reason=str(error))  # noqa: TRY400 -- the reason is for the user, the traceback is not
        if ancestor is not None:
            ancestor.fail(str(error))
        return 1
    surroundings = replace(surroundings, notifier=notifier)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(config_path, standing, surroundings))


def _settle_in(
    file: Config, face: Face | None, check: Callable[[Config], None] | None, log: AppLog, ancestor: Ancestor | None
) -> tuple[Standing, Surroundings]:
    legacy = Legacy(pid=0) if ancestor is None else ancestor.legacy
    store = Store(Path(file.state_dir), writable=file.admin.enabled)
    store.open(legacy.lock)
    config, state = resume(store, file)
    if check is not None and config.admin.enabled:
        check(config)
    announce(log, config)
    try:
        estate, admin_estate = Estate(legacy.listeners), Estate(legacy.admin)
        listeners, admin = open_listeners(config, estate), open_admin(config, admin_estate)
        estate.give_up_rest()
        admin_estate.give_up_rest()
        fresh = state != store.read()
        if fresh:
            store.prepare(state)
            # It is the other process's state that counts until this one takes over.
            if ancestor is None:
                store.commit()
    except (StoreError, OSError) as error:
        raise UnfitError(str(error)) from error
    surroundings = Surroundings(
        listeners,
        admin,
        face,
        store,
        log,
        ancestor=ancestor,
        kept=tuple(sorted(estate.claimed)),
        prepared=fresh and ancestor is not None,
    )
    return Standing(file, state.overlay, config, state.version, state.digest), surroundings


async def _run(config_path: Path, standing: Standing, surroundings: Surroundings) -> int:
    async with asyncio.TaskGroup() as tasks:
        return await Supervisor(config_path, standing, surroundings, tasks).run()

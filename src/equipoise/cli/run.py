"""`equipoise run`: the balancer.

Owns: the command's options, that a bad file ends it before anything starts, and that the balancer gets its admin face.
Refuses to know: how the balancer works (runtime), and its face (admin).
"""

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from equipoise.cli.options import DEFAULT_CONFIG, WRONG_USAGE, ConfigOption, allow_own_modules, print_problems

if TYPE_CHECKING:
    from socket import socket

    from equipoise.config.schema import Config
    from equipoise.runtime.supervisor import Supervisor


def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Runs the balancer until it is told to stop.

    SIGTERM and SIGINT let requests in flight end first, SIGHUP reads the configuration again, SIGUSR1 opens log files
    again, SIGUSR2 hands over to the program that is on the disk by then.
    """
    from equipoise.config.load import ConfigError
    from equipoise.runtime.launch import run as supervise

    allow_own_modules()
    try:
        code = supervise(config, _serve, _check)
    except ConfigError as error:
        print_problems(error.problems, config)
        raise typer.Exit(WRONG_USAGE) from None
    # All is closed and told. Taking the interpreter apart would keep whoever waits for the end some tenths of a second.
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # a log that nobody can keep
            stream.flush()
    os._exit(code)


# The admin API's libraries take as much memory as all the rest: only a balancer that serves it loads them.


def _check(config: "Config") -> None:
    from equipoise.admin.server import check

    check(config)


async def _serve(supervisor: "Supervisor", sock: "socket") -> None:
    from equipoise.admin.server import serve

    await serve(supervisor, sock)

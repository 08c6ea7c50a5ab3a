"""`equipoise run`: the balancer.

Owns: the command's options, and that a bad file ends it before anything starts.
Refuses to know: how the balancer works (runtime).
"""

import typer

from equipoise.cli.options import DEFAULT_CONFIG, WRONG_USAGE, ConfigOption, allow_own_modules, print_problems


def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Runs the balancer until it is told to stop.

    SIGTERM and SIGINT let requests in flight end first, SIGHUP reads the configuration again, SIGUSR1 opens log files
    again.
    """
    from equipoise.config.load import ConfigError
    from equipoise.runtime.supervisor import run as supervise

    allow_own_modules()
    try:
        code = supervise(config)
    except ConfigError as error:
        print_problems(error.problems, config)
        raise typer.Exit(WRONG_USAGE) from None
    raise typer.Exit(code)

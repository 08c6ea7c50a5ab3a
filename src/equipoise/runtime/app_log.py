"""The application log: what the balancer says about itself, on standard error.

Owns: its form, one JSON object a line, or readable lines on a terminal. The only module that knows structlog.
Refuses to know: what is worth saying; the access log, which is another thing.
"""

from collections.abc import Mapping
from typing import Any, Final, TextIO

import structlog

LEVELS: Final = ("debug", "info", "warning", "error")


class AppLog:
    """Where one process writes. Only the supervisor has one; the workers send it their lines."""

    def __init__(self, stream: TextIO) -> None:
        """Decide on the form by what `stream` is."""
        render: Any = structlog.processors.JSONRenderer()
        if stream.isatty():
            render = structlog.dev.ConsoleRenderer(timestamp_key="time")
        self._log: Any = structlog.wrap_logger(
            structlog.PrintLogger(stream),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
                structlog.processors.format_exc_info,
                _put_first,
                render,
            ],
            wrapper_class=structlog.BoundLogger,
        )

    def info(self, event: str, **fields: object) -> None:
        """Say what happens."""
        self.write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Say what somebody should look at."""
        self.write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Say what went wrong."""
        self.write("error", event, fields)

    def write(self, level: str, event: str, fields: Mapping[str, object]) -> None:
        """Say it at a level that is given as a word; an unknown one is an error's."""
        method = level if level in LEVELS else "error"
        # A field may have any name, also that of a parameter.
        named = {key if key not in {"event", "level", "time"} else f"{key}_": value for key, value in fields.items()}
        try:
            getattr(self._log, method)(event, **named)
        except (OSError, ValueError):
            # A log that nobody reads any more (EPIPE, a full disk, a closed file) must not stop the balancer.
            return


def _put_first(_logger: object, _method: str, fields: Any) -> Any:
    first = {key: fields.pop(key) for key in ("time", "level", "event") if key in fields}
    return first | fields

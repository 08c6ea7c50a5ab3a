"""The application log: what the balancer says about itself, on standard error.

Owns: its form, one JSON object a line, or readable lines on a terminal. The only module that knows structlog and, for
what libraries say, the standard library's logging.
Refuses to know: what is worth saying; the access log, which is another thing.
"""

import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final, TextIO

LEVELS: Final = ("debug", "info", "warning", "error")


class AppLog:
    """Where one process writes. Only the supervisor has one; the workers send it their lines."""

    def __init__(self, stream: TextIO) -> None:
        """Decide on the form by what `stream` is."""
        import structlog  # noqa: PLC0415 -- a third of a second, and no worker has an AppLog

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


def forward(say: Callable[[str, str, Mapping[str, str]], None]) -> None:
    """Give what this process's event loop and data path log to `say`: level, event, fields.

    It may be called from any thread. "equipoise.access" is left out: there the access log's sink `logging` writes.
    """
    for name in ("asyncio", "equipoise.proxy"):
        logging.getLogger(name).addHandler(_Forward(say))


class _Forward(logging.Handler):
    def __init__(self, say: Callable[[str, str, Mapping[str, str]], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """See logging."""
        fields = {"logger": record.name}
        if record.exc_info:
            fields["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        self._say(record.levelname.lower(), record.getMessage(), fields)

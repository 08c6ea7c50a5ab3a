"""Nobody: the downstream side of a request that the balancer makes for its own cache.

Owns: taking an answer that no client waits for.
Refuses to know: why it was asked for, and what is stored of it.
"""

from mypy_extensions import i64

from equipoise.errors import ProxyError
from equipoise.proxy.client import Client
from equipoise.proxy.sides import Downstream
from equipoise.wire.hpack_header import Header
from equipoise.wire.message import Response


class Background(Downstream):
    """Takes everything and says nothing."""

    def __init__(self, client: Client) -> None:
        """Stands in for a client.

        Args:
            client: whose request led to this one; targets and the log hear of it.
        """
        super().__init__()
        self.client = client
        self.decodes = True

    def protocol(self) -> str:
        """See `Downstream.protocol`: there was none."""
        return "refresh"

    def send_interim(self, head: Response) -> None:
        """See `Downstream.send_interim`."""

    def send_head(self, head: Response, body: bytes, last: bool) -> None:
        """See `Downstream.send_head`."""

    def send_body(self, data: bytes, last: bool) -> None:
        """See `Downstream.send_body`."""

    def send_trailers(self, fields: list[Header]) -> None:
        """See `Downstream.send_trailers`."""

    def send_own(self, error: ProxyError, retry_after: int) -> i64:
        """See `Downstream.send_own`."""
        return 0

    def hold(self) -> None:
        """See `Downstream.hold`: all of the request is here."""

    def let(self) -> None:
        """See `Downstream.let`."""

    def abort(self) -> None:
        """See `Downstream.abort`."""

    def exchange_over(self) -> None:
        """See `Downstream.exchange_over`."""

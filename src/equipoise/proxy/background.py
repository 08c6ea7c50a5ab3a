"""Nobody: the downstream side of a request that the balancer makes for its own cache.

Owns: taking an answer that no client waits for, and being found by who ends what runs in the worker.
Refuses to know: why it was asked for, and what is stored of it.
"""

from mypy_extensions import i64

from equipoise.errors import ProxyError
from equipoise.proxy.client import Client
from equipoise.proxy.services import Services
from equipoise.proxy.sides import Downstream, Relay
from equipoise.wire.hpack_header import Header
from equipoise.wire.message import Response


class Background(Downstream):
    """Takes everything and says nothing."""

    def __init__(self, services: Services, client: Client) -> None:
        """Stands in for a client.

        Args:
            services: the worker's.
            client: whose request led to this one; targets and the log hear of it.
        """
        super().__init__()
        self.services = services
        self.client = client
        self.decodes = True
        self.relay: Relay | None = None

    def began(self, relay: Relay) -> None:
        """A request of its own is about to be made."""
        self.relay = relay
        self.services.refreshes.add(self)

    def cut(self) -> None:
        """See `Connection.cut`."""
        if self.relay is not None:
            self.relay.downstream_lost()

    def cut_target(self, slot: int) -> None:
        """See `Connection.cut_target`."""
        if self.relay is not None:
            self.relay.cut_at(slot)

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
        self.relay = None
        self.services.refreshes.discard(self)

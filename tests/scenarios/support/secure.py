"""TLS as the other sides have it: clients of the balancer, and contexts for targets.

Owns: contexts of Python's own `ssl`, and a client that speaks TLS.
Refuses to know: which certificate is whose; the tests say it.
"""

import ssl
from pathlib import Path
from typing import Any, Protocol

from tests.scenarios.support.client import Client
from tests.support.certificates import Authority, Pair


class HasPem(Protocol):
    """An authority, as far as clients know it."""

    pem: bytes


def trusting(authority: HasPem, *, newest: str = "1.3", protocols: tuple[str, ...] = ()) -> ssl.SSLContext:
    """A client's context that believes one authority, and speaks TLS up to a version."""
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.maximum_version = ssl.TLSVersion.TLSv1_3 if newest == "1.3" else ssl.TLSVersion.TLSv1_2
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def showing(context: ssl.SSLContext, pair: Pair, folder: Path) -> ssl.SSLContext:
    """The same, with a certificate of its own."""
    name = f"own-{len(list(folder.iterdir()))}"
    pair.write(folder, name)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


def serving(pair: Pair, folder: Path, clients: Authority | None = None) -> ssl.SSLContext:
    """A target's context; with `clients` it insists on certificates of that authority."""
    context = showing(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), pair, folder)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.pem.decode())
    return context


class SecureClient(Client):
    """One TLS connection to the balancer."""

    def __init__(
        self, port: int, context: ssl.SSLContext, name: str | None = "a.example", session: ssl.SSLSession | None = None
    ) -> None:
        """Connects and shakes hands; raises ssl.SSLError or ConnectionError when that fails."""
        super().__init__(port)
        try:
            self.tls = context.wrap_socket(self.sock, server_hostname=name, session=session)
        except OSError:
            self.close()
            raise
        self.sock = self.tls

    @property
    def names(self) -> list[str]:
        """For whom the certificate is that the balancer showed."""
        certificate: dict[str, Any] = dict(self.tls.getpeercert() or {})
        return [value for _, value in certificate["subjectAltName"]]

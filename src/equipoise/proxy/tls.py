"""TLS contexts, made from what the supervisor read.

Owns: which versions, ciphers and protocols are spoken, which certificate a client gets, whom a target must be; that the
same specification gives the same context for as long as it is in use.
Refuses to know: files and where they are (`runtime.tls_files`), when a context changes, what is said over it.

Nothing here runs for a request: contexts are made at a change, and a certificate is chosen once a handshake.
"""

import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from msgspec.structs import replace

from equipoise.model import CertificateSpec, ListenerTlsSpec, TargetTlsSpec, World

# Forward secrecy and authenticated encryption only: what RFC 9325 4.2 recommends for TLS 1.2 and what HTTP/2 does not
# forbid (RFC 9113 9.2.2). All of TLS 1.3 is of this kind.
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
# Session tickets after a full handshake. OpenSSL makes two, each for CPU and bytes; the next connection needs one.
TICKETS: Final = 1
HTTP1: Final = ["http/1.1"]
HTTP2_OR_1: Final = ["h2", "http/1.1"]
_CLIENT_CERTIFICATES: Final = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


class Identities:
    """The contexts of a listener's certificates, by the names that they are for."""

    def __init__(self, named: Sequence[tuple[tuple[str, ...], ssl.SSLContext]]) -> None:
        """Nothing changes any more.

        Args:
            named: names of each context, wildcards included; of two that have a name in common, the earlier has it.
        """
        self.first = named[0][1]
        self._by_name: dict[str, ssl.SSLContext] = {}
        for names, context in named:
            for name in names:
                self._by_name.setdefault(name, context)

    def choose(self, name: str | None) -> ssl.SSLContext:
        """The context for a client that asks for `name`: for this very name, with a wildcard for it, or the first.

        A wildcard stands for one label (RFC 9525 6.3). A client that asks for nothing, or for an address, gets the
        first.
        """
        if not name:
            return self.first
        name = name.lower().removesuffix(".")
        found = self._by_name.get(name)
        return found or self._by_name.get("*." + name.partition(".")[2], self.first)


class Greeting:
    """What a TLS listener begins each handshake with.

    Its context is the same for as long as the listener lives, and its certificates are exchanged under it: handshakes
    that begin afterwards get the new ones, connections never notice.
    """

    def __init__(self, spec: ListenerTlsSpec, identities: Identities) -> None:
        self._clients = (spec.client_ca, spec.client_certificates)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.sni_callback = self._choose
        self.take(spec, identities)

    def lets_in_as(self, spec: ListenerTlsSpec) -> bool:
        """Whether it may go on with another specification.

        Not when other clients are let in: tickets of this context resume a session without another look at the client's
        certificate (RFC 8446 2.2), so a stricter rule needs a context that knows no tickets yet.
        """
        return self._clients == (spec.client_ca, spec.client_certificates)

    def take(self, spec: ListenerTlsSpec, identities: Identities) -> None:
        """Greet in another way from the next handshake on. `lets_in_as` allows it."""
        # Version, tickets and whether a client certificate is wanted are settled by the context that a handshake begins
        # with; certificate, ciphers, authorities and ALPN by the one that is chosen in it. Both have all of it.
        _prepare_for_clients(self.context, spec)
        self._identities = identities

    def _choose(self, connection: Any, name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._identities.choose(name)


class Contexts:
    """Makes contexts, and keeps those of targets. One for each process."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        # Names are asked for connection by connection: targets that differ in nothing else share their contexts.
        self._targets: dict[TargetTlsSpec, tuple[ssl.SSLContext, ssl.SSLContext]] = {}

    def take(self, world: World) -> None:
        """Know the files of a world from now on, and forget the contexts that it has no use for."""
        self._files = {file.digest: file.content for file in world.files}
        used = {_nameless(target.tls) for pool in world.pools for target in pool.targets if target.tls is not None}
        for spec in self._targets.keys() - used:
            del self._targets[spec]

    def target(self, spec: TargetTlsSpec) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        """The context for a target, and one for it that offers HTTP/1.1 only.

        Raises:
            OSError: one cannot be made; an ssl.SSLError when it is for what a file holds.
            ValueError: a file is not there.
        """
        spec = _nameless(spec)
        made = self._targets.get(spec)
        if made is None:
            made = (target_context(spec, self._files, HTTP2_OR_1), target_context(spec, self._files, HTTP1))
            self._targets[spec] = made
        return made

    def identities(self, spec: ListenerTlsSpec) -> Identities:
        """The certificates of a listener; raises as `target`."""
        return listener_identities(spec, self._files)


def listener_identities(spec: ListenerTlsSpec, files: Mapping[str, bytes]) -> Identities:
    """The certificates of a listener, those of the same names in one context.

    Raises:
        OSError, ValueError: as `Contexts.target`.
    """
    alike: dict[tuple[str, ...], list[CertificateSpec]] = {}
    for certificate in spec.certificates:
        alike.setdefault(certificate.names, []).append(certificate)
    named = []
    for names, certificates in alike.items():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _prepare_for_clients(context, spec)
        if spec.client_ca:
            _trust(context, _content(files, spec.client_ca))
        for certificate in _one_of_each_kind(certificates):
            _show(context, files, certificate.certificate, certificate.key)
        named.append((names, context))
    return Identities(named)


def target_context(spec: TargetTlsSpec, files: Mapping[str, bytes], protocols: list[str]) -> ssl.SSLContext:
    """A context for connections to targets.

    Args:
        spec: what is wanted.
        files: contents by digest.
        protocols: what is offered by ALPN (RFC 7301), the preferred one first.

    Raises:
        OSError, ValueError: as `Contexts.target`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _prepare(context, spec.min_version, protocols)
    if not spec.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif spec.ca:
        _trust(context, _content(files, spec.ca))
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if spec.certificate:
        _show(context, files, spec.certificate, spec.key)
    return context


def handshake_problem(error: ssl.SSLError) -> str:
    """Why a handshake with a target failed, in OpenSSL's words and never in the other side's."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message.rstrip('.')}"
    return (error.reason or "connection closed").lower().replace("_", " ")


def _prepare_for_clients(context: ssl.SSLContext, spec: ListenerTlsSpec) -> None:
    _prepare(context, spec.min_version, HTTP2_OR_1 if spec.http2 else HTTP1)
    context.num_tickets = TICKETS
    context.verify_mode = _CLIENT_CERTIFICATES[spec.client_certificates]


def _prepare(context: ssl.SSLContext, min_version: str, protocols: list[str]) -> None:
    context.minimum_version = VERSIONS[min_version]
    context.set_ciphers(CIPHERS)
    # A client could have this side do a handshake per byte; TLS 1.3 has no renegotiation.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(protocols)


def _one_of_each_kind(certificates: list[CertificateSpec]) -> list[CertificateSpec]:
    """OpenSSL keeps one certificate for each kind of key, the last; here the first counts."""
    kinds: dict[str, CertificateSpec] = {}
    for certificate in certificates:
        kinds.setdefault(certificate.kind, certificate)
    return list(kinds.values())


def _trust(context: ssl.SSLContext, authorities: bytes) -> None:
    with _as_file(authorities) as path:
        context.load_verify_locations(cafile=path)


def _show(context: ssl.SSLContext, files: Mapping[str, bytes], certificate: str, key: str) -> None:
    with _as_file(_content(files, certificate)) as chain, _as_file(_content(files, key)) as secret:
        # Without a passphrase at hand, OpenSSL would ask for one at the terminal.
        context.load_cert_chain(chain, secret, password="")


def _content(files: Mapping[str, bytes], digest: str) -> bytes:
    if digest not in files:
        raise ValueError(f"there is no file with the digest {digest[:12]}")
    return files[digest]


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path that leads to the content: OpenSSL, as Python has it, takes keys from paths only. No disk sees it."""
    fd = os.memfd_create("equipoise-tls")
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(content)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _nameless(spec: TargetTlsSpec) -> TargetTlsSpec:
    return replace(spec, server_name="")

"""Certificates and keys: the files that a configuration names.

Owns: which files those are, that each is read once and fits its purpose, and the specifications made of them.
Refuses to know: what PEM says (`certificates`), handshakes (`proxy.tls`), when files are read again (`renewal`).

A worker never opens one of them. It gets what the supervisor read and found good, so that a successor has the same
certificates as its predecessor, whatever lies on the disk by then.
"""

import hashlib
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from equipoise.config.addresses import parse_url
from equipoise.config.decode import Report
from equipoise.config.problems import Place, Problem, dotted
from equipoise.config.schema import Config, PoolConfig, TlsConfig
from equipoise.model import CertificateSpec, ListenerTlsSpec, TargetTlsSpec, TlsFile
from equipoise.proxy.tls import HTTP2_OR_1, listener_identities, target_context
from equipoise.runtime.app_log import AppLog

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

# All public authorities together take a quarter of a MiB; a device that never ends is not read to its end.
LARGEST_FILE: Final = 4 * 1024 * 1024

Stamp = tuple[int, int, int]
"""Time of the last change (ns), inode, size: what tells two contents of a file apart."""


@dataclass(frozen=True)
class Material:
    """What TLS is made of.

    Attributes:
        files: what the files hold.
        listeners: how each listener speaks, plain ones (None) included.
        pools: how the `https://` targets of each pool are spoken to; the name is empty when each has its own.
        stamps: the files as they were when they were read, by path.
        warnings: what is odd and yet can be used.
    """

    files: tuple[TlsFile, ...] = ()
    listeners: tuple[ListenerTlsSpec | None, ...] = ()
    pools: Mapping[str, TargetTlsSpec] = field(default_factory=dict)
    stamps: Mapping[str, Stamp] = field(default_factory=dict, compare=False)
    warnings: tuple[Problem, ...] = field(default=(), compare=False)

    def tell(self, log: AppLog) -> None:
        """Write the warnings into the application's log."""
        for problem in self.warnings:
            log.warning("questionable", path=problem.path, reason=problem.message)


class Reading:
    """Reads the files of one configuration, once. Fit for `config.load.load` as `examine`."""

    def __init__(self) -> None:
        self.material = Material()
        self._files: dict[str, TlsFile | None] = {}
        self._stamps: dict[str, Stamp] = {}
        self._warnings: list[Problem] = []
        self._report: Report = lambda _place, _message: None

    def examine(self, config: Config, report: Report) -> None:
        """Read and check everything; what was reported makes `material` unfit for use."""
        self._report = report
        listeners = [
            None if listener.tls is None else self._listener(listener.tls, ("listeners", index, "tls"))
            for index, listener in enumerate(config.listeners)
        ]
        pools = {name: self._pool(pool, ("pools", name, "tls")) for name, pool in config.pools.items()}
        self.material = Material(
            files=tuple({file.digest: file for file in self._files.values() if file is not None}.values()),
            listeners=(*[None] * len(config.listen), *listeners),
            pools=pools,
            stamps=dict(self._stamps),
            warnings=tuple(self._warnings),
        )

    def _listener(self, tls: TlsConfig, place: Place) -> ListenerTlsSpec:
        pairs: list[tuple[Place, str, str]] = [
            ((*place, "certificates", index), pair.certificate_file, pair.key_file)
            for index, pair in enumerate(tls.certificates)
        ] or [(place, tls.certificate_file, tls.key_file)]
        found = [(where, self._pair(where, certificate, key)) for where, certificate, key in pairs]
        spec = ListenerTlsSpec(
            certificates=tuple(pair for _, pair in found if pair is not None),
            min_version=tls.min_version,
            client_ca=self._authorities((*place, "client_ca_file"), tls.client_ca_file),
            client_certificates=tls.client_certificates,
            http2=tls.http2,
        )
        if any(pair is None for _, pair in found) or (tls.client_ca_file and not spec.client_ca):
            return spec
        self._check_names([where for where, _ in found], spec.certificates)
        try:
            listener_identities(spec, self._contents())
        except (OSError, ValueError) as error:
            self._report(place, _refusal(error))
        return spec

    def _pool(self, pool: PoolConfig, place: Place) -> TargetTlsSpec:
        tls = pool.tls
        secure = any(target.url and parse_url(target.url).scheme == "https" for target in pool.targets)
        if secure and not tls.verify:
            self._warn((*place, "verify"), "is false: whoever answers in the place of a target is believed")
        certificate, key = "", ""
        if tls.certificate_file and tls.key_file:
            pair = self._pair(place, tls.certificate_file, tls.key_file, shown_to_targets=True)
            certificate, key = (pair.certificate, pair.key) if pair is not None else ("", "")
        spec = TargetTlsSpec(
            server_name=tls.server_name,
            ca=self._authorities((*place, "ca_file"), tls.ca_file) if tls.verify else "",
            verify=tls.verify,
            certificate=certificate,
            key=key,
            min_version=tls.min_version,
        )
        if spec.ca or spec.certificate:
            try:
                target_context(spec, self._contents(), HTTP2_OR_1)
            except (OSError, ValueError) as error:
                self._report(place, _refusal(error))
        return spec

    def _pair(
        self, place: Place, certificate_path: str, key_path: str, *, shown_to_targets: bool = False
    ) -> CertificateSpec | None:
        """A certificate with its key; None when one of them is not what it should be, which was reported."""
        from equipoise.runtime import certificates  # noqa: PLC0415 -- a balancer without TLS does without its library

        if not certificate_path or not key_path:
            return None
        at, key_at = (*place, "certificate_file"), (*place, "key_file")
        file, key_file = self._read(at, certificate_path), self._read(key_at, key_path)
        if file is None or key_file is None:
            return None
        chain = self._chain(at, certificate_path, file)
        if not chain:
            return None
        try:
            certificates.check_key(key_file.content, chain)
        except certificates.CertificateError as error:
            self._report(key_at, f"{key_path} {error}")
            return None
        self._warn_of_time(at, chain)
        if not shown_to_targets and certificates.is_for_nobody(chain[0]):
            self._warn(at, f"{certificate_path} names no host (subjectAltName): clients of today refuse it")
        names = certificates.names_of(chain[0])
        return CertificateSpec(file.digest, key_file.digest, names, certificates.kind_of(chain[0]))

    def _authorities(self, place: Place, path: str) -> str:
        """The digest of a file of authorities; empty when it names none, or none that can be used."""
        file = self._read(place, path) if path else None
        chain = self._chain(place, path, file) if file is not None else []
        if file is None or not chain:
            return ""
        self._warn_of_time(place, chain)
        return file.digest

    def _chain(self, place: Place, path: str, file: TlsFile) -> "list[Certificate]":
        from equipoise.runtime import certificates  # noqa: PLC0415 -- as above

        try:
            return certificates.read_chain(file.content)
        except certificates.CertificateError as error:
            self._report(place, f"{path} {error}")
            return []

    def _check_names(self, places: list[Place], pairs: tuple[CertificateSpec, ...]) -> None:
        """A certificate behind the first must be the choice for some client."""
        taken: set[str] = set()
        kinds: set[tuple[tuple[str, ...], str]] = set()
        for place, pair in zip(places, pairs, strict=True):
            new_kind = (pair.names, pair.kind) not in kinds and any(names == pair.names for names, _ in kinds)
            if kinds and not new_kind and taken.issuperset(pair.names):
                self._report(place, "is never chosen: it has no name that an earlier one does not have")
            taken.update(pair.names)
            kinds.add((pair.names, pair.kind))

    def _read(self, place: Place, path: str) -> TlsFile | None:
        if path not in self._files:
            self._files[path] = None
            try:
                self._stamps[path], content = read_file(path)
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else None
                self._report(place, f"cannot read {path}: {reason or error}")
            else:
                self._files[path] = TlsFile(hashlib.sha256(content).hexdigest(), content)
        elif self._files[path] is None:
            self._report(place, f"cannot read {path} either")
        return self._files[path]

    def _contents(self) -> dict[str, bytes]:
        return {file.digest: file.content for file in self._files.values() if file is not None}

    def _warn_of_time(self, place: Place, chain: "list[Certificate]") -> None:
        from equipoise.runtime import certificates  # noqa: PLC0415 -- as above

        problem = certificates.untimely(chain, datetime.now(UTC))
        if problem is not None:
            self._warn(place, problem)

    def _warn(self, place: Place, message: str) -> None:
        self._warnings.append(Problem(dotted(place), message))


def read_file(path: str) -> tuple[Stamp, bytes]:
    """A file, and its stamp from before it was read: what is written meanwhile has another.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large to be what it should be.
    """
    with open(path, "rb") as file:  # noqa: PTH123 -- the path is the user's text, and errors are to name it unchanged
        stamp = _stamp(os.fstat(file.fileno()))
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ValueError("it is no file of certificates or keys, it is too large")
    return stamp, content


def stamp_of(path: str) -> Stamp | None:
    """The stamp that a file has now; None when there is none. Links are followed: renewals often exchange them."""
    try:
        return _stamp(os.stat(path))  # noqa: PTH116 -- as above
    except OSError:
        return None


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_mtime_ns, found.st_ino, found.st_size


def _refusal(error: Exception) -> str:
    words = (error.reason or "").lower().replace("_", " ") if isinstance(error, ssl.SSLError) else ""
    return f"is refused by OpenSSL: {words or error}"

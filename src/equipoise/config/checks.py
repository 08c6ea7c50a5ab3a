"""What no single value of the file can show: how keys relate to each other, and what this version cannot do yet.

Owns: the rules between keys.
Refuses to know: how values are written and read.

Each rule passes over stand-ins (empty values), which have been reported already.
"""

from collections import Counter
from collections.abc import Mapping

from equipoise.config.addresses import Address, parse_address, parse_url
from equipoise.config.decode import Report, StandIn, shown
from equipoise.config.leaves import nearest
from equipoise.config.problems import Place, dotted
from equipoise.config.schema import (
    CACHE_SHARE,
    MAX_SLOTS,
    CacheConfig,
    Config,
    HealthConfig,
    JwtConfig,
    PoolConfig,
    PoolTlsConfig,
    TargetConfig,
    TlsConfig,
)
from equipoise.config.units import format_duration, format_size


def check(config: Config, report: Report) -> None:
    """Report everything that keeps the configuration from being used."""
    _check_listeners(config, report)
    for index, listener in enumerate(config.listeners):
        if listener.tls is not None:
            _check_listener_tls(listener.tls, ("listeners", index, "tls"), report)
    _check_pools(config.pools, report)
    _check_routes(config, report)
    _check_jwt(config.admin.jwt, report)


def _check_listeners(config: Config, report: Report) -> None:
    if not config.listen and not config.listeners:
        report(("listen",), 'is missing; write listen = "0.0.0.0:8080"')
    seen: dict[Address, Place] = {}
    for place, text in _listen_places(config):
        address = parse_address(text) if text else None
        if address is None or address.port == 0:
            continue
        if address in seen:
            report(place, f"{shown(text)} is listened on already by {dotted(seen[address])}")
        seen.setdefault(address, place)


def _listen_places(config: Config) -> list[tuple[Place, str]]:
    # A single address may stand in the file without a list around it.
    places: list[tuple[Place, str]] = [
        (("listen", index) if len(config.listen) > 1 else ("listen",), text) for index, text in enumerate(config.listen)
    ]
    places += [(("listeners", index, "address"), listener.address) for index, listener in enumerate(config.listeners)]
    if config.admin.enabled:
        places.append((("admin", "listen"), config.admin.listen))
    return places


def _check_listener_tls(tls: TlsConfig, place: Place, report: Report) -> None:
    _check_pair(tls.certificate_file, tls.key_file, place, report)
    alone = tls.certificate_file or tls.key_file
    if alone and tls.certificates:
        report(place, "has both certificate_file and certificates; write all certificates into certificates")
    if not alone and not tls.certificates:
        report(place, "names no certificate; write certificate_file and key_file, or [[listeners.tls.certificates]]")
    asked = tls.client_certificates
    if isinstance(asked, StandIn):
        return
    if asked != "none" and not tls.client_ca_file:
        report(
            (*place, "client_ca_file"), f'is missing; client_certificates = "{asked}" needs to know whom they are of'
        )
    if asked == "none" and tls.client_ca_file:
        report(
            (*place, "client_ca_file"),
            'is of no use while client_certificates is "none"; write "required" or "optional"',
        )


def _check_pool_tls(tls: PoolTlsConfig, place: Place, report: Report) -> None:
    _check_pair(tls.certificate_file, tls.key_file, place, report)
    if tls.ca_file and not tls.verify:
        report((*place, "ca_file"), "is of no use while verify is false; leave one of them out")


def _check_pair(certificate: str, key: str, place: Place, report: Report) -> None:
    if certificate and not key:
        report((*place, "key_file"), "is missing; it holds the key of certificate_file")
    if key and not certificate:
        report((*place, "certificate_file"), "is missing; it holds the certificate of key_file")


def _check_pools(pools: Mapping[str, PoolConfig], report: Report) -> None:
    if not pools:
        report(("pools",), 'there is no pool; write [pools.default] and targets = ["http://10.0.0.1:9001"]')
    for name, pool in pools.items():
        _check_targets(pool.targets, ("pools", name, "targets"), report)
        _check_health(pool.health, ("pools", name, "health"), report)
        _check_grpc_health(pool, ("pools", name), report)
        _check_pool_tls(pool.tls, ("pools", name, "tls"), report)
        _check_cache(pool.cache, ("pools", name, "cache"), report)
    used = len(pools) + sum(len(pool.targets) for pool in pools.values())
    if used > MAX_SLOTS:
        report(("pools",), f"pools and their targets must be at most {MAX_SLOTS} together, not {used}")


def _check_targets(targets: tuple[TargetConfig, ...], place: Place, report: Report) -> None:
    seen: dict[str, int] = {}
    for index, target in enumerate(targets):
        if not target.url:
            continue
        if target.name in seen:
            report(
                (*place, index),
                f"{shown(target.name)} is the name of {dotted((*place, seen[target.name]))} already; "
                "give one of them another name",
            )
        seen.setdefault(target.name, index)


def _check_health(health: HealthConfig, place: Place, report: Report) -> None:
    least, most = health.passive.eject_min, health.passive.eject_max
    if 0 < most < least:
        spans = f"eject_min ({format_duration(least)}) must not be longer than eject_max ({format_duration(most)})"
        report((*place, "passive"), spans)


def _check_cache(cache: CacheConfig, place: Place, report: Report) -> None:
    if 0 < cache.max_bytes < CACHE_SHARE * cache.max_body:
        report(
            (*place, "max_body"),
            f"{shown(format_size(cache.max_body))} must be at most a twentieth of max_bytes, "
            f"{shown(format_size(cache.max_bytes))}; raise max_bytes or lower max_body",
        )
    listed = () if isinstance(cache.key_headers, str) else cache.key_headers
    for index, header in enumerate(listed):
        if header in cache.ignore_headers:
            report((*place, "key_headers", index), f"{shown(header)} is in ignore_headers too; leave one of them out")
    if cache.mode != "rfc9111":
        return
    if listed:
        report((*place, "key_headers"), 'belongs to mode "identical"; in mode "rfc9111" Vary of the answers says so')
    for index, kind in enumerate(cache.store_anyway):
        if kind != "set-cookie":
            report(
                (*place, "store_anyway", index),
                f'{shown(kind)} belongs to mode "identical"; in mode "rfc9111" Cache-Control of the answers says so',
            )


def _check_grpc_health(pool: PoolConfig, place: Place, report: Report) -> None:
    if pool.health.type != "grpc":
        return
    for index, target in enumerate(pool.targets):
        if target.url and parse_url(target.url).scheme == "http":
            report(
                (*place, "targets", index, "url"),
                f'{shown(target.url)} is asked over HTTP/1, which carries no gRPC; health of type "grpc" '
                "needs h2c:// or https://",
            )


def _check_routes(config: Config, report: Report) -> None:
    if len(config.pools) > 1 and not config.routes:
        names = ", ".join(shown(name) for name in config.pools)
        report(
            ("routes",),
            f"there are several pools ({names}) and no route to them; write [[routes]] tables with pool, and with host "
            "or path, one for each pool (the first that matches wins)",
        )
    matched: Counter[tuple[str, str]] = Counter()
    for index, route in enumerate(config.routes):
        if route.pool and config.pools and route.pool not in config.pools:
            report(
                ("routes", index, "pool"), f"there is no pool {shown(route.pool)}{nearest(route.pool, config.pools)}"
            )
        if isinstance(route.host, StandIn) or isinstance(route.path, StandIn):
            continue
        if matched[route.host, route.path]:
            report(("routes", index), "is never reached: an earlier route has the same host and path")
        matched[route.host, route.path] += 1


def _check_jwt(jwt: JwtConfig, report: Report) -> None:
    place: Place = ("admin", "jwt")
    if isinstance(jwt.algorithm, StandIn):
        return
    if jwt.algorithm == "HS256":
        if jwt.public_key_file:
            report((*place, "public_key_file"), "HS256 takes a secret_file; set algorithm for a public key")
        return
    if jwt.secret_file:
        report((*place, "secret_file"), f"{jwt.algorithm} takes a public_key_file")
    if not jwt.public_key_file:
        report((*place, "public_key_file"), f"is missing; {jwt.algorithm} needs one")

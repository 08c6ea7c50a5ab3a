"""`equipoise cache`: the caches of the pools, switched, tuned, emptied and looked at.

Owns: the commands below it and their options.
Refuses to know: what a setting means and which value it may have (the admin API says so).
"""

import json as encoding
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equipoise.cli.client_options import AdminOption, JsonOption, PoolOption, TokenOption
from equipoise.cli.completion import pool_names
from equipoise.cli.options import DEFAULT_CONFIG, ConfigOption

if TYPE_CHECKING:
    from equipoise.cli.answers import CacheUse
    from equipoise.cli.client import Client
    from equipoise.cli.show import Row

cache = typer.Typer(name="cache", help="Switches, tunes and empties the caches of the pools.", no_args_is_help=True)

_HEADER = (
    "pool",
    "cache",
    "mode",
    "ttl",
    "entries",
    "size",
    "of",
    "hits",
    "misses",
    "hit ratio",
    "stores",
    "evictions",
)
_NUMBERS = frozenset(range(3, len(_HEADER)))


@cache.command("on")
def on(
    *,
    mode: Annotated[str, typer.Option("--mode", metavar="MODE", help="`identical` or `rfc9111`.")] = "",
    ttl: Annotated[
        str, typer.Option("--ttl", metavar="TIME", help="How long an answer is given again, such as `30s`.")
    ] = "",
    max_bytes: Annotated[
        str, typer.Option("--max-bytes", metavar="SIZE", help="Memory for the answers, such as `64MiB`.")
    ] = "",
    max_body: Annotated[
        str, typer.Option("--max-body", metavar="SIZE", help="The largest body that is kept or looked up.")
    ] = "",
    methods: Annotated[
        str, typer.Option("--methods", metavar="LIST", help="Methods that are looked up, with commas between them.")
    ] = "",
    key_headers: Annotated[
        str,
        typer.Option("--key-headers", metavar="LIST", help="Headers that tell requests apart, or `all`."),
    ] = "",
    ignore_headers: Annotated[
        str, typer.Option("--ignore-headers", metavar="LIST", help="Headers that do not tell requests apart.")
    ] = "",
    pool: PoolOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    admin: AdminOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Switches the cache of a pool on, or changes how it is set while it is on.

    What is not given stays as it is; returns when every worker acts on it. It is kept over restarts.
    """
    from equipoise.cli.connect import ADMIN, Command, connect

    lists = {"methods": methods, "key_headers": key_headers, "ignore_headers": ignore_headers}
    changes: dict[str, Any] = {"mode": mode, "ttl": ttl, "max_bytes": max_bytes, "max_body": max_body}
    changes |= {key: _listed(text) for key, text in lists.items()}
    body = {"enabled": True, **{key: value for key, value in changes.items() if value}}
    with connect(Command("cache on", ADMIN), config, admin, token) as client:
        _switch(client, pool, body, json=json)


@cache.command("off")
def off(
    *,
    pool: PoolOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    admin: AdminOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Switches the cache of a pool off and empties it. It is kept over restarts."""
    from equipoise.cli.connect import ADMIN, Command, connect

    with connect(Command("cache off", ADMIN), config, admin, token) as client:
        _switch(client, pool, {"enabled": False}, json=json)


@cache.command("purge")
def purge(
    *,
    path: Annotated[
        str,
        typer.Option("--path", metavar="PATH", help="Only answers of this path, with any query unless it has one."),
    ] = "",
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="PATH", help="Only answers of the paths that begin so.")
    ] = "",
    pool: PoolOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    admin: AdminOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Drops what the cache of a pool holds; when it returns, no worker gives any of it again."""
    from equipoise.cli.connect import ADMIN, Command, connect
    from equipoise.cli.show import count

    if path and prefix:
        raise typer.BadParameter("give --path or --prefix, not both")
    query = {key: value for key, value in {"path": path, "prefix": prefix}.items() if value}
    with connect(Command("cache purge", ADMIN), config, admin, token) as client:
        chosen = _pool(client, pool)
        answer = client.delete("pools", chosen, "cache", **query)
        dropped = count(int(answer.data.get("purged") or 0), "answer")
        typer.echo(answer.text if json else f"cache of pool {chosen}: {dropped} dropped")


@cache.command("stats")
def stats(
    *,
    pool: Annotated[
        str,
        typer.Option("--pool", metavar="NAME", help="Which pool.", show_default="all", autocompletion=pool_names),
    ] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    admin: AdminOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Shows how the caches are used: those of all pools, or the one that is named.

    Counts are over all workers since the cache was switched on.
    """
    from equipoise.cli.answers import Status, read
    from equipoise.cli.connect import Command, connect
    from equipoise.cli.names import choose_pool
    from equipoise.cli.show import columns

    with connect(Command("cache stats"), config, admin, token) as client:
        answer = client.get("status")
        found = read(answer.data, Status)
        chosen = [choose_pool(found, pool)] if pool else list(found.pools)
        if json and pool:
            typer.echo(client.get("pools", pool, "cache").text)
        elif json:
            caches = {name: answer.data["pools"][name].get("cache") for name in chosen}
            typer.echo(encoding.dumps({"version": found.version, "pools": caches}))
        else:
            typer.echo(columns(_HEADER, [_row(name, found.pools[name].cache) for name in chosen], _NUMBERS))


def _switch(client: "Client", pool: str, body: dict[str, Any], *, json: bool) -> None:
    from equipoise.cli.answers import CacheUse, read
    from equipoise.config.units import format_duration

    chosen = _pool(client, pool)
    answer = client.put("pools", chosen, "cache", body=body)
    found = read(answer.data, CacheUse)
    how = f"on, mode {found.mode}, ttl {format_duration(found.ttl)}" if found.enabled else "off"
    said = f"cache of pool {chosen}: {how} (configuration {answer.data.get('version')})"
    typer.echo(answer.text if json else said)


def _pool(client: "Client", wanted: str) -> str:
    from equipoise.cli.answers import Status, read
    from equipoise.cli.names import choose_pool

    return choose_pool(read(client.get("status").data, Status), wanted)


def _listed(text: str) -> str | list[str]:
    """A list as the API takes it; `all` is a word of its own there."""
    return text if text in {"", "all"} else [part.strip() for part in text.split(",")]


def _row(pool: str, use: "CacheUse") -> "Row":
    from equipoise.cli.show import percent, size
    from equipoise.config.units import format_duration

    counts = [f"{number:,}" for number in (use.hits, use.misses)]
    rest = [f"{number:,}" for number in (use.stores, use.evictions)]
    state = "on" if use.enabled else "off"
    sizes = [f"{use.entries:,}", size(use.bytes), size(use.max_bytes)]
    return [pool, state, use.mode, format_duration(use.ttl), *sizes, *counts, percent(use.hit_ratio), *rest]

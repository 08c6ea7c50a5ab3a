"""`equipoise algorithm`: how a pool's targets are chosen.

Owns: its options, and how the known algorithms are listed.
Refuses to know: any algorithm.
"""

import json as encoding
from typing import TYPE_CHECKING

import typer

from equipoise.cli.client_options import AdminOption, AlgorithmArgument, JsonOption, PoolOption, TokenOption
from equipoise.cli.options import DEFAULT_CONFIG, ConfigOption

if TYPE_CHECKING:
    from equipoise.cli.client import Client


def algorithm(
    name: AlgorithmArgument = "",
    *,
    pool: PoolOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    admin: AdminOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Shows the algorithms of the pools and those that are known, or switches a pool to another.

    A switch keeps all counters, and returns when every worker picks by the new algorithm. It is kept over restarts.
    """
    from equipoise.cli.answers import Status, read
    from equipoise.cli.connect import ADMIN, READ, Command, connect
    from equipoise.cli.names import choose_pool

    with connect(Command("algorithm", ADMIN if name else READ), config, admin, token) as client:
        found = read(client.get("status").data, Status)
        if name:
            chosen = choose_pool(found, pool)
            answer = client.put("pools", chosen, "algorithm", body={"algorithm": name})
            said = f"pool {chosen}: algorithm {name} (configuration {answer.data.get('version')})"
            typer.echo(answer.text if json else said)
        else:
            chosen_pools = [choose_pool(found, pool)] if pool else list(found.pools)
            _show(client, {each: found.pools[each].algorithm for each in chosen_pools}, json=json)


def _show(client: "Client", current: dict[str, str], *, json: bool) -> None:
    from equipoise.cli.answers import Algorithms, read

    answer = client.get("algorithms")
    if json:
        typer.echo(encoding.dumps({**answer.data, "pools": current}))
        return
    for pool, name in current.items():
        typer.echo(f"pool {pool}: {name}")
    typer.echo()
    known = read(answer.data, Algorithms).algorithms
    width = max((len(each.name) for each in known), default=0)
    for each in known:
        mark = "*" if each.name in current.values() else " "
        typer.echo(f"{mark} {each.name:{width}}  {each.promise}".rstrip())

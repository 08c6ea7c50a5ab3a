"""`equipoise targets`: the targets of a pool, listed and changed.

Owns: the commands below it, their options, and the waiting for requests in flight.
Refuses to know: what becomes of a target (the admin API does it).
"""

import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from equipoise.cli.client_options import (
    AdminOption,
    JsonOption,
    MaxInFlightOption,
    PoolOption,
    TargetArgument,
    TokenOption,
    WeightOption,
)
from equipoise.cli.options import DEFAULT_CONFIG, ConfigOption

if TYPE_CHECKING:
    from equipoise.cli.client import Answer, Client
    from equipoise.cli.show import Row

POLL: Final = 0.25
"""Seconds between two looks at a target that is waited for; the balancer looks as often."""

targets = typer.Typer(name="targets", help="Lists and changes the targets of a pool.", no_args_is_help=True)


@targets.command("list")
def list_targets(
    *,
    pool: PoolOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    admin: AdminOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Lists the targets of a pool with their settings and health."""
    from equipoise.cli.answers import Targets, read
    from equipoise.cli.connect import Command, connect
    from equipoise.cli.show import columns

    with connect(Command("targets list"), config, admin, token) as client:
        answer = client.get("pools", _pool(client, pool), "targets")
        if json:
            typer.echo(answer.text)
            return
        header = ("name", "url", "weight", "max in flight", "state", "health", "reason")
        rows: list[Row] = [
            (
                each.name,
                each.url,
                str(each.weight),
                str(each.max_in_flight or "-"),
                each.state,
                each.health,
                each.reason or "-",
            )
            for each in read(answer.data, Targets).targets
        ]
        typer.echo(columns(header, rows, frozenset({2, 3})) if rows else "no targets")


@targets.command("add")
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the target is, such as `http://10.0.0.4:9001`.")],
    *,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What it is called.", show_default="host:port")
    ] = "",
    weight: WeightOption = None,
    max_in_flight: MaxInFlightOption = None,
    pool: PoolOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    admin: AdminOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Adds a target to a pool; returns when every worker knows it. It is kept over restarts."""
    from equipoise.cli.connect import ADMIN, Command, connect

    body = _given(url=url, name=name or None, weight=weight, max_in_flight=max_in_flight)
    with connect(Command("targets add", ADMIN), config, admin, token) as client:
        chosen = _pool(client, pool)
        answer = client.post("pools", chosen, "targets", body=body)
        _say(answer, f"added {answer.data.get('name', name or url)} to pool {chosen}", json=json)


@targets.command("remove")
def remove(
    name: TargetArgument,
    *,
    force: Annotated[bool, typer.Option("--force", help="Cut the requests in flight there.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when no request is in flight there any more.")] = False,
    pool: PoolOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    admin: AdminOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Removes a target from a pool: it gets no new requests, and those in flight there may finish."""
    from equipoise.cli.connect import ADMIN, Command, connect

    with connect(Command("targets remove", ADMIN), config, admin, token) as client:
        chosen = _pool(client, pool, name)
        query = {"force": "true"} if force else {}
        answer = client.delete("pools", chosen, "targets", name, **query)
        left = int(answer.data.get("in_flight") or 0)
        if wait and left:
            _wait_until_idle(client, chosen, name)
            left = 0
        _say(answer, f"removed {name} from pool {chosen}{_meanwhile(left)}", json=json)


@targets.command("drain")
def drain(
    name: TargetArgument,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Return when no request is in flight there any more.")] = False,
    pool: PoolOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    admin: AdminOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Gives a target no new requests, until it is enabled again; those in flight there may finish."""
    from equipoise.cli.connect import ADMIN, Command, connect

    with connect(Command("targets drain", ADMIN), config, admin, token) as client:
        chosen = _pool(client, pool, name)
        answer = client.patch("pools", chosen, "targets", name, body={"state": "draining"})
        left = int(answer.data.get("in_flight") or 0)
        if wait:
            _wait_until_idle(client, chosen, name)
            left = 0
        _say(answer, f"{name} of pool {chosen} drains{_meanwhile(left)}", json=json)


@targets.command("enable")
def enable(
    name: TargetArgument,
    *,
    pool: PoolOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    admin: AdminOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Leaves a target to its health again, after a drain."""
    from equipoise.cli.connect import ADMIN, Command, connect

    with connect(Command("targets enable", ADMIN), config, admin, token) as client:
        chosen = _pool(client, pool, name)
        answer = client.patch("pools", chosen, "targets", name, body={"state": "up"})
        _say(answer, f"{name} of pool {chosen} is {answer.data.get('health', 'enabled')}", json=json)


@targets.command("set")
def set_target(
    name: TargetArgument,
    *,
    weight: WeightOption = None,
    max_in_flight: MaxInFlightOption = None,
    pool: PoolOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    admin: AdminOption = "",
    token: TokenOption = "",
    json: JsonOption = False,
) -> None:
    """Changes the weight of a target, or how many requests it may hold at once. It is kept over restarts."""
    from equipoise.cli.connect import ADMIN, Command, connect

    body = _given(weight=weight, max_in_flight=max_in_flight)
    if not body:
        raise typer.BadParameter("give --weight, --max-in-flight or both")
    with connect(Command("targets set", ADMIN), config, admin, token) as client:
        chosen = _pool(client, pool, name)
        answer = client.patch("pools", chosen, "targets", name, body=body)
        said = ", ".join(f"{key} {value}" for key, value in body.items())
        _say(answer, f"{name} of pool {chosen}: {said}", json=json)


def _given(**values: object) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}


def _pool(client: "Client", wanted: str, target: str = "") -> str:
    """The pool that is meant; fails with the names there are when it or the target does not exist."""
    from equipoise.cli.answers import Status, read
    from equipoise.cli.names import choose_pool, choose_target

    found = read(client.get("status").data, Status)
    chosen = choose_pool(found, wanted)
    if target:
        choose_target(chosen, found.pools[chosen], target)
    return chosen


def _say(answer: "Answer", text: str, *, json: bool) -> None:
    typer.echo(answer.text if json else f"{text} (configuration {answer.data.get('version')})")


def _meanwhile(in_flight: int) -> str:
    from equipoise.cli.show import count

    return f"; {count(in_flight, 'request')} in flight may finish" if in_flight else ""


def _wait_until_idle(client: "Client", pool: str, target: str) -> None:
    """Returns when nothing is in flight at a target, or it is gone."""
    from equipoise.cli.client import Refused

    while True:
        try:
            answer = client.get("pools", pool, "targets", target)
        except Refused as error:
            if error.status == 404:
                return
            raise
        if not answer.data.get("in_flight"):
            return
        time.sleep(POLL)

"""Names for the shell to complete: pools, targets and algorithms, as the running balancer knows them.

Owns: the half second that an answer may take, and silence when none comes; bash's way of splitting words at colons.
Refuses to know: the scripts of the shells (typer).
"""

import os
import threading
from collections.abc import Callable, Iterable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from equipoise.cli.options import DEFAULT_CONFIG

if TYPE_CHECKING:
    from equipoise.cli.client import Client

PATIENCE: Final = 0.5
"""Seconds after which the shell gets nothing: a person has just pressed a key."""
_OPTIONS: Final = (("admin", "EQUIPOISE_ADMIN"), ("token", "EQUIPOISE_TOKEN"), ("config", "EQUIPOISE_CONFIG"))
_INSTRUCTION: Final = "_EQUIPOISE_COMPLETE"
_PREFIX: Final = "_EQUIPOISE_COMPLETE_PREFIX"

Candidate = str | tuple[str, str]


def pool_names(ctx: typer.Context, incomplete: str) -> list[Candidate]:
    """The pools, with their algorithm as help."""
    from equipoise.cli.answers import Status, read

    def ask(client: "Client") -> Iterable[Candidate]:
        pools = read(client.get("status").data, Status).pools
        return [(name, pool.algorithm) for name, pool in pools.items()]

    return _within_patience(ctx, incomplete, ask)


def target_names(ctx: typer.Context, incomplete: str) -> list[Candidate]:
    """The targets of the pool that `--pool` names, else of all; with their health as help."""
    from equipoise.cli.answers import Status, read

    def ask(client: "Client") -> Iterable[Candidate]:
        pools = read(client.get("status").data, Status).pools
        wanted = ctx.params.get("pool") or ""
        found = {
            target.name: target.health
            for name, pool in pools.items()
            if wanted in {"", name}
            for target in pool.targets
        }
        return list(found.items())

    return _within_patience(ctx, incomplete, ask)


def algorithm_names(ctx: typer.Context, incomplete: str) -> list[Candidate]:
    """The algorithms, with their promise as help."""
    from equipoise.cli.answers import Algorithms, read

    def ask(client: "Client") -> Iterable[Candidate]:
        return [(known.name, known.promise) for known in read(client.get("algorithms").data, Algorithms).algorithms]

    return _within_patience(ctx, incomplete, ask)


def _within_patience(
    ctx: typer.Context, incomplete: str, ask: "Callable[[Client], Iterable[Candidate]]"
) -> list[Candidate]:
    # Loaded before the clock starts: on a busy machine that alone takes a while.
    from equipoise.cli.access import find_access
    from equipoise.cli.client import Client

    found: list[Candidate] = []

    def look() -> None:
        # Whatever is wrong, what is written into a line that somebody types would only be in the way.
        try:
            admin, token, file = (str(ctx.params.get(name) or os.environ.get(env, "")) for name, env in _OPTIONS)
            access = find_access(Path(file or DEFAULT_CONFIG), admin, token, "read")
            with Client(access, PATIENCE) as client:
                found.extend(ask(client))
        except Exception:  # noqa: BLE001, S110 -- as said
            pass

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return _as_typed(list(found), incomplete)


# Bash and the colon


def rejoin_words(environ: MutableMapping[str, str]) -> None:
    """Put together again what bash took apart: it ends words at colons, and `127.0.0.1:9001` is one name.

    Of the word at the cursor, what stands before its last colon goes to a variable of ours: bash puts what is answered
    behind that colon.
    """
    if environ.get(_INSTRUCTION) != "complete_bash":
        return
    try:
        words = environ["COMP_WORDS"].split("\n")
        at = int(environ["COMP_CWORD"])
    except (KeyError, ValueError):
        return
    words = words[: at + 1] + [""] * (at + 1 - len(words))
    joined: list[str] = []
    for word in words:
        if joined and (word.startswith(":") or joined[-1].endswith(":")) and len(joined) > 1:
            joined[-1] += word
        else:
            joined.append(word)
    before, colon, rest = joined[-1].rpartition(":")
    environ[_PREFIX] = before + colon
    joined[-1] = rest
    environ["COMP_WORDS"] = "\n".join(joined)
    environ["COMP_CWORD"] = str(len(joined) - 1)


def _as_typed(candidates: list[Candidate], incomplete: str) -> list[Candidate]:
    """Those that go on as the line begins, without the part that stands before bash's colon."""
    prefix = os.environ.get(_PREFIX, "")
    whole = prefix + incomplete
    split = [each if isinstance(each, tuple) else (each, "") for each in candidates]
    return [(name.removeprefix(prefix), says) for name, says in split if name.startswith(whole)]

"""What calls of the admin API carry and what they answer, for the framework and for the OpenAPI document.

Owns: names, types, ranges, descriptions and examples.
Refuses to know: what a call does. Whether a URL or the name of an algorithm is valid is for the configuration to say.

Bodies are strict: no other field, no other type. Answers may gain fields.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from equipoise.config.leaves import LEAVES

State = Literal["up", "draining", "down"]
_LONGEST_TEXT: Final = 1024
# Stands for no value at all: the type of the field has no null, and neither has the document.
_ABSENT: Final[Any] = None

TARGET_EXAMPLE: Final[dict[str, Any]] = {
    "name": "127.0.0.1:9001",
    "url": "http://127.0.0.1:9001",
    "weight": 1,
    "max_in_flight": 0,
    "state": "up",
    "addresses": ["127.0.0.1"],
    "health": "up",
    "reason": None,
    "since": "2026-01-31T09:30:00.125+00:00",
    "in_flight": 3,
    "requests": 120,
    "failures": 0,
    "retries": 0,
    "ejections": 0,
    "mean_response_ms": 4.2,
}
CACHE_EXAMPLE: Final[dict[str, Any]] = {
    "enabled": True,
    "mode": "identical",
    "ttl": 60.0,
    "entries": 120,
    "bytes": 245760,
    "max_bytes": 67108864,
    "hits": 900,
    "misses": 100,
    "stores": 130,
    "evictions": 10,
    "refused": 0,
    "busy": 0,
    "damaged": 0,
    "followed": 25,
    "hit_ratio": 0.9,
}
POOL_EXAMPLE: Final[dict[str, Any]] = {
    "algorithm": "least_in_flight",
    "spread": 1,
    "cache": CACHE_EXAMPLE,
    "targets": [TARGET_EXAMPLE],
}
STATUS_EXAMPLE: Final[dict[str, Any]] = {
    "version": 7,
    "time": "2026-01-31T09:30:00.125+00:00",
    "uptime_s": 12.3,
    "compiled": True,
    "pid": 4200,
    "draining": False,
    "workers": [{"row": 0, "pid": 4242, "connections": 10, "requests": 120, "version": 7, "draining": False}],
    "pools": {"default": POOL_EXAMPLE},
}
FLIP_EXAMPLE: Final[dict[str, Any]] = {
    "id": 41,
    "kind": "flip",
    "time": "2026-01-31T09:30:00.125+00:00",
    "pool": "default",
    "target": "127.0.0.1:9001",
    "from": "up",
    "to": "down",
    "reason": "connect failed",
}


def _example(value: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [value]})


def _without_default(schema: dict[str, Any]) -> None:
    """An optional field has no value to fall back on: what is not given is left as it is."""
    del schema["default"]


# Bodies


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewTarget(_Body):
    """A target to add."""

    model_config = _example({"url": "http://127.0.0.1:9004", "name": "d", "weight": 1})

    url: str = Field(
        min_length=1,
        max_length=_LONGEST_TEXT,
        description="`http://`, `https://` or `h2c://host[:port]`.",
        json_schema_extra={"pattern": str(LEAVES["url"].schema["pattern"])},
    )
    name: str = Field(
        default=_ABSENT,
        min_length=1,
        max_length=255,
        description="What it is called; `host:port` when not given.",
        json_schema_extra=_without_default,
    )
    weight: int = Field(default=1, ge=1, le=1000, description="Its share, relative to the other targets.")
    max_in_flight: int = Field(
        default=0, ge=0, le=1_000_000, description="Requests it may hold at once; 0 is no limit."
    )
    state: State = Field(
        default="up", description="`up` leaves it to health; `draining` and `down` give it no new requests."
    )


class TargetChanges(_Body):
    """What is to change at a target; the rest stays as it is."""

    model_config = _example({"state": "draining"})

    weight: int = Field(
        default=_ABSENT,
        ge=1,
        le=1000,
        description="Its share, relative to the other targets.",
        json_schema_extra=_without_default,
    )
    max_in_flight: int = Field(
        default=_ABSENT,
        ge=0,
        le=1_000_000,
        description="Requests it may hold at once; 0 is no limit.",
        json_schema_extra=_without_default,
    )
    state: State = Field(
        default=_ABSENT,
        description="`up` leaves it to health; `draining` and `down` give it no new requests.",
        json_schema_extra=_without_default,
    )


class AlgorithmChoice(_Body):
    """How a pool's targets are to be chosen."""

    model_config = _example({"algorithm": "response_time"})

    algorithm: str = Field(
        min_length=1,
        max_length=_LONGEST_TEXT,
        description='A known name (`GET /v1/algorithms`) or `"python:module:Class"`.',
    )


_Duration = Annotated[str, Field(max_length=32)]
_Size = Annotated[int, Field(ge=0)] | Annotated[str, Field(max_length=32)]
_Names = Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=64)]


def _setting(description: str, leaf: str = "") -> Any:
    """An optional field; where it is a leaf of the configuration, the document has its pattern."""

    def complete(schema: dict[str, Any]) -> None:
        _without_default(schema)
        if leaf:
            schema["pattern"] = LEAVES[leaf].schema["pattern"]

    return Field(default=_ABSENT, description=description, json_schema_extra=complete)


class CacheChanges(_Body):
    """What is to change at the cache of a pool; the rest stays as it is."""

    model_config = _example({"enabled": True, "ttl": "30s"})

    enabled: bool = _setting("Whether answers are kept. Switched off, the cache is emptied.")
    mode: Literal["identical", "rfc9111"] = _setting("Which requests are equal, and for how long an answer is used.")
    ttl: _Duration = _setting("How long an answer is given again, such as `30s`.", "duration")
    max_bytes: _Size = _setting("Shared memory for the answers, such as `64MiB`. Changed, the cache begins empty.")
    max_body: _Size = _setting("The largest body that is kept or looked up.")
    methods: _Names = _setting("Methods whose requests are answered from the cache.")
    key_headers: Literal["all"] | _Names = _setting("Request headers that tell two requests apart: `all`, or a list.")
    ignore_headers: _Names = _setting("Request headers that do not tell two requests apart.")
    store_anyway: _Names = _setting("What does not keep an answer from being stored.")
    keep_stale: _Duration = _setting("How long after its end an answer is kept that a target can confirm.", "duration")


# Answers


class _Answer(BaseModel):
    """More fields may come."""

    model_config = ConfigDict(extra="allow")


class _Versioned(_Answer):
    version: int = Field(ge=1, description="Version of the configuration; goes up with each change.")


class Target(_Answer):
    """A target with its settings, health and counters."""

    model_config = _example(TARGET_EXAMPLE)

    name: str
    url: str
    weight: int
    max_in_flight: int
    state: State = Field(description="What an operator ordered; `up` leaves it to health.")
    addresses: list[str] = Field(description="Where its host name leads to.")
    health: Literal["up", "draining", "down"] = Field(description="Whether it gets requests: only when `up`.")
    reason: str | None = Field(description="Why it is not up; null when it is.")
    since: str = Field(description="Since when its health is so, RFC 3339.")
    in_flight: int = Field(ge=0, description="Requests in flight now, over all workers.")
    requests: int = Field(ge=0, description="Requests so far.")
    failures: int = Field(ge=0, description="Of them, those that failed by its fault.")
    retries: int = Field(ge=0, description="Of them, those that were tried elsewhere before.")
    ejections: int = Field(ge=0, description="Times that it went from up to down.")
    mean_response_ms: float = Field(ge=0, description="Mean response time of the last 5 minutes, milliseconds.")


class VersionedTarget(_Versioned, Target):
    """A target, and the version of the configuration that has it so."""

    model_config = _example({"version": 8, **TARGET_EXAMPLE})


class Targets(_Versioned):
    """The targets of a pool, those that are leaving included."""

    model_config = _example({"version": 7, "pool": "default", "targets": [TARGET_EXAMPLE]})

    pool: str
    targets: list[Target]


class RemovedTarget(_Versioned):
    """A target that is no longer in the configuration."""

    model_config = _example({"version": 9, "removed": "127.0.0.1:9001", "in_flight": 2})

    removed: str = Field(description="Its name.")
    in_flight: int = Field(ge=0, description="Requests there that are still on their way; they finish.")


class PoolAlgorithm(_Versioned):
    """How a pool's targets are chosen."""

    model_config = _example({"version": 8, "pool": "default", "algorithm": "response_time"})

    pool: str
    algorithm: str


class CacheUse(_Answer):
    """How the cache of a pool is used; counts are over all workers since it was switched on."""

    model_config = _example(CACHE_EXAMPLE)

    enabled: bool
    mode: Literal["identical", "rfc9111"]
    ttl: float = Field(ge=0, description="How long an answer is given again, seconds.")
    entries: int = Field(ge=0, description="Answers that are kept now.")
    bytes: int = Field(ge=0, description="What they take.")
    max_bytes: int = Field(ge=0, description="What they may take.")
    hits: int = Field(ge=0, description="Requests that were answered from the cache.")
    misses: int = Field(ge=0, description="Requests that might have been and were not.")
    stores: int = Field(ge=0, description="Answers that were stored.")
    evictions: int = Field(ge=0, description="Of them, those that had to make room for others.")
    refused: int = Field(ge=0, description="Answers that were not stored: too large, or purged while being fetched.")
    busy: int = Field(ge=0, description="Changes that were left out, since another worker held that part.")
    damaged: int = Field(ge=0, description="Stored answers that were found damaged.")
    followed: int = Field(ge=0, description="Requests that waited for an answer that another one was fetching.")
    hit_ratio: float | None = Field(ge=0, le=1, description="Hits among hits and misses; null before the first.")


class PoolCache(_Versioned, CacheUse):
    """The cache of a pool: how it is used, and how it is set."""

    model_config = _example(
        {"version": 8, "pool": "default", **CACHE_EXAMPLE, "settings": {"enabled": True, "ttl": "1m"}}
    )

    pool: str
    settings: dict[str, JsonValue] = Field(description="All settings, in the terms of the file.")


class Purged(_Versioned):
    """Answers that are not given any more."""

    model_config = _example({"version": 8, "pool": "default", "purged": 120})

    pool: str
    purged: int = Field(ge=0, description="How many were dropped.")


class Algorithm(_Answer):
    """An algorithm that is known by a name."""

    name: str
    promise: str = Field(description="What it promises, and what it is blind to.")


class Algorithms(_Answer):
    """All algorithms that are known by a name."""

    model_config = _example(
        {"algorithms": [{"name": "random", "promise": "a uniformly random target, in proportion to its weight"}]}
    )

    algorithms: list[Algorithm]


class Worker(_Answer):
    """A worker process."""

    row: int
    pid: int
    connections: int = Field(ge=0, description="Clients that are connected to it.")
    requests: int = Field(ge=0, description="Requests it has answered.")
    version: int = Field(ge=0, description="The version of the configuration that it acts on.")
    draining: bool = Field(description="Whether it finishes what it carries, since it was replaced.")


class Pool(_Answer):
    """A pool with its targets, those that are leaving included."""

    algorithm: str
    spread: int = Field(ge=0, description="Most minus fewest requests in flight among the targets that are up.")
    cache: CacheUse
    targets: list[Target]


class Status(_Versioned):
    """What the balancer is doing."""

    model_config = _example(STATUS_EXAMPLE)

    time: str = Field(description="Now, by the balancer's clock, RFC 3339.")
    uptime_s: float = Field(ge=0, description="Since the start, seconds.")
    compiled: bool = Field(description="Whether the data path runs compiled.")
    pid: int = Field(description="The process id of the supervisor, which signals go to.")
    draining: bool = Field(description="Whether it is on its way out.")
    workers: list[Worker]
    pools: dict[str, Pool]


class Configuration(_Versioned):
    """A configuration in the terms of the file, defaults filled in."""

    model_config = _example({"version": 7, "config": {"listen": ["0.0.0.0:8080"], "workers": "auto"}})

    config: dict[str, JsonValue]


class Difference(_Answer):
    """One place where the running configuration is not what the file says."""

    place: str = Field(description="Keys with dots between them.")
    file: JsonValue = Field(description="What the file says; null when it says nothing.")
    running: JsonValue = Field(description="What is in force; null when nothing is.")


class Differences(_Versioned):
    """Where the running configuration is not what the file says."""

    model_config = _example(
        {
            "version": 8,
            "differences": [
                {"place": "pools.default.algorithm", "file": "least_in_flight", "running": "response_time"}
            ],
        }
    )

    differences: list[Difference]


class Reloaded(_Versioned):
    """The file was read and is in force."""

    model_config = _example({"version": 9, "changed": True})

    changed: bool = Field(description="Whether it led to another configuration.")


class Upgrade(_Versioned):
    """Another process is the balancer now; `version` is that of its configuration."""

    model_config = _example({"version": 7, "pid": 5150, "before": 4200})

    pid: int = Field(description="Its process id.")
    before: int = Field(description="The process id of the one before it, which drains.")


class ReplacedWorker(_Answer):
    """Two workers that follow each other."""

    before: int = Field(description="The process id of the one that is gone.")
    pid: int = Field(description="The process id of the one in its place.")


class ReplacedWorkers(_Versioned):
    """All workers that were replaced."""

    model_config = _example({"version": 7, "workers": [{"before": 4242, "pid": 5151}, {"before": 4243, "pid": 5152}]})

    workers: list[ReplacedWorker]


class Event(_Answer):
    """Something that happened; each kind has fields of its own."""

    model_config = _example(FLIP_EXAMPLE)

    id: int = Field(ge=1)
    kind: str = Field(description="`flip`, `change` or `worker`.")
    time: str = Field(description="When, RFC 3339.")


class RecentEvents(_Answer):
    """The last 200 events, the oldest first."""

    model_config = _example({"events": [FLIP_EXAMPLE]})

    events: list[Event]


# Refusals


class FieldProblem(BaseModel):
    """What is wrong with one part of a request or of the file."""

    place: str = Field(description="Which part: a field of the body, or a key of the configuration.")
    message: str


class Problem(BaseModel):
    """A refusal (RFC 9457)."""

    type: str = Field(description="`about:blank`: the status says it all.")
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What is wrong with this call, in a sentence.")
    errors: list[FieldProblem] = Field(
        default=[], description="With 422: every part that is wrong.", json_schema_extra=_without_default
    )

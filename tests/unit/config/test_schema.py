from collections.abc import Iterator

import pytest
from msgspec import inspect, structs

from equipoise.config.decode import bare, plain
from equipoise.config.leaves import LEAVES
from equipoise.config.schema import ALGORITHMS, AccessLogConfig, Config, LimitsConfig, RetryConfig
from equipoise.model import AccessLogSpec, LimitsSpec, RetrySpec
from equipoise.policy import balance


def parts(info: inspect.Type) -> Iterator[inspect.Type]:
    yield info
    kind, _ = bare(info)
    match kind:
        case inspect.StructType(fields=fields):
            inner = tuple(field.type for field in fields)
        case inspect.VarTupleType(item_type=item):
            inner = (item,)
        case inspect.DictType(key_type=key, value_type=item):
            inner = (key, item)
        case inspect.UnionType(types=types):
            inner = types
        case _:
            inner = ()
    for part in inner:
        yield from parts(part)


PARTS = list(parts(inspect.type_info(Config)))
STRUCTS = [part for part in PARTS if isinstance(part, inspect.StructType)]


def test_every_key_is_described() -> None:
    silent = [
        f"{kind.cls.__name__}.{field.name}"
        for kind in STRUCTS
        for field in kind.fields
        if not (isinstance(field.type, inspect.Metadata) and (field.type.extra_json_schema or {}).get("description"))
    ]
    assert silent == []


def test_every_leaf_is_known_and_every_known_leaf_is_used() -> None:
    assert {bare(part)[1]["leaf"] for part in PARTS if "leaf" in bare(part)[1]} == LEAVES.keys()


def test_every_number_has_a_range() -> None:
    # A list's leaf (status range) is made of numbers, but the leaf bounds them.
    numbers = [part for part in PARTS if isinstance(part, inspect.IntType | inspect.FloatType)]
    bounded = [part for part in numbers if part.ge is not None and part.le is not None]
    assert len(numbers) - len(bounded) == 0


@pytest.mark.parametrize(
    ("config", "spec"),
    [(LimitsConfig(), LimitsSpec()), (AccessLogConfig(), AccessLogSpec()), (RetryConfig(), RetrySpec())],
    ids=["limits", "access_log", "retry"],
)
def test_the_defaults_of_the_file_are_those_of_the_workers(
    config: LimitsConfig | AccessLogConfig | RetryConfig, spec: LimitsSpec | AccessLogSpec | RetrySpec
) -> None:
    assert structs.asdict(config) == structs.asdict(spec)


def test_the_algorithms_are_those_that_exist() -> None:
    assert set(ALGORITHMS) == set(balance.ALGORITHMS)


def test_every_default_can_be_written_in_a_file() -> None:
    assert plain(LimitsConfig()) == {
        "request_head": "32KiB",
        "request_target": "8KiB",
        "request_body": 0,
        "header_count": 100,
        "connections": 0,
        "connections_per_client": 0,
        "tunnels": 0,
        "streams": 1000,
        "buffer": "64KiB",
        "head_timeout": "10s",
        "body_timeout": "30s",
        "idle_timeout": "75s",
        "connect_timeout": "5s",
        "response_timeout": "1m",
        "tunnel_timeout": "1h",
        "drain_timeout": "30s",
    }

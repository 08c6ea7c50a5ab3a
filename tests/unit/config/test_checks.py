import pytest

from equipoise.config.checks import check
from equipoise.config.problems import dotted
from equipoise.config.schema import (
    AdminConfig,
    CacheConfig,
    Config,
    HealthConfig,
    JwtConfig,
    ListenerConfig,
    PassiveConfig,
    PoolConfig,
    RouteConfig,
    TargetConfig,
)

POOL = PoolConfig(targets=(TargetConfig("http://a", "a"),))
ANY = ("0.0.0.0:80",)


def problems(config: Config) -> dict[str, str]:
    found: dict[str, str] = {}
    check(config, lambda place, message: found.update({dotted(place): message}))
    return found


def with_pool(**keys: object) -> Config:
    return Config(listen=ANY, pools={"p": PoolConfig(**{"targets": (), **keys})})  # type: ignore[arg-type]


def with_jwt(**keys: str) -> Config:
    return Config(listen=ANY, pools={"p": POOL}, admin=AdminConfig(jwt=JwtConfig(**keys)))  # type: ignore[arg-type]


def test_one_listener_and_one_pool_are_enough() -> None:
    assert problems(Config(listen=ANY, pools={"p": POOL})) == {}


def test_without_a_listener_nothing_can_be_served() -> None:
    assert problems(Config(pools={"p": POOL}))["listen"].startswith("is missing")


def test_a_listener_table_is_a_listener() -> None:
    assert problems(Config(listeners=(ListenerConfig("[::]:80"),), pools={"p": POOL})) == {}


def test_one_address_is_listened_on_once() -> None:
    config = Config(listen=("[::]:80", "a:80", "[::]:80"), pools={"p": POOL})
    assert problems(config) == {"listen[2]": '"[::]:80" is listened on already by listen[0]'}


def test_a_listener_table_may_not_repeat_an_address() -> None:
    config = Config(listen=ANY, listeners=(ListenerConfig(ANY[0]),), pools={"p": POOL})
    assert problems(config) == {"listeners[0].address": '"0.0.0.0:80" is listened on already by listen'}


def test_port_0_may_be_asked_for_twice() -> None:
    assert problems(Config(listen=("a:0", "a:0"), pools={"p": POOL})) == {}


def test_the_admin_api_needs_an_address_of_its_own() -> None:
    assert "admin.listen" in problems(Config(listen=("127.0.0.1:8081",), pools={"p": POOL}))


def test_an_admin_api_that_is_off_needs_no_address() -> None:
    config = Config(listen=("127.0.0.1:8081",), pools={"p": POOL}, admin=AdminConfig(enabled=False))
    assert problems(config) == {}


def test_without_a_pool_nothing_can_be_served() -> None:
    assert problems(Config(listen=ANY))["pools"].startswith("there is no pool")


def test_two_targets_of_a_pool_have_two_names() -> None:
    config = with_pool(targets=(TargetConfig("http://a", "x"), TargetConfig("http://b", "x")))
    assert problems(config)["pools.p.targets[1]"].startswith('"x" is the name of pools.p.targets[0] already')


def test_targets_of_two_pools_may_share_a_name() -> None:
    config = Config(listen=ANY, pools={"p": POOL, "q": POOL}, routes=(RouteConfig("p", path="/p"), RouteConfig("q")))
    assert problems(config) == {}


@pytest.mark.parametrize("scheme", ["https", "h2c"])
def test_a_target_is_reached_by_http_only_for_now(scheme: str) -> None:
    config = with_pool(targets=(TargetConfig(f"{scheme}://a", "a"),))
    assert problems(config) == {"pools.p.targets[0].url": f"{scheme}:// targets are not supported by this version"}


def test_grpc_health_is_refused_for_now() -> None:
    assert "not supported" in problems(with_pool(health=HealthConfig(type="grpc")))["pools.p.health.type"]


def test_the_cache_is_refused_for_now() -> None:
    assert "not supported" in problems(with_pool(cache=CacheConfig(enabled=True)))["pools.p.cache.enabled"]


def test_the_shortest_ejection_is_not_longer_than_the_longest() -> None:
    config = with_pool(health=HealthConfig(passive=PassiveConfig(eject_min=2, eject_max=1)))
    assert problems(config) == {"pools.p.health.passive": "eject_min (2s) must not be longer than eject_max (1s)"}


@pytest.mark.parametrize(("count", "good"), [(4095, True), (4096, False)])
def test_pools_and_targets_fit_the_ledger(count: int, good: bool) -> None:
    config = with_pool(targets=tuple(TargetConfig("http://a", f"t{i}") for i in range(count)))
    assert (problems(config) == {}) is good


def test_several_pools_need_routes() -> None:
    assert "[[routes]]" in problems(Config(listen=ANY, pools={"p": POOL, "q": POOL}))["routes"]


def test_a_route_leads_to_a_pool_that_exists() -> None:
    config = Config(listen=ANY, pools={"default": POOL}, routes=(RouteConfig("defalt"),))
    assert problems(config) == {"routes[0].pool": 'there is no pool "defalt"; did you mean "default"?'}


def test_a_route_behind_its_equal_is_never_reached() -> None:
    config = Config(listen=ANY, pools={"p": POOL}, routes=(RouteConfig("p", "h", "/a"), RouteConfig("p", "h", "/a")))
    assert problems(config) == {"routes[1]": "is never reached: an earlier route has the same host and path"}


def test_a_secret_is_for_hs256_only() -> None:
    assert problems(with_jwt(algorithm="RS256", public_key_file="k", secret_file="s")).keys() == {
        "admin.jwt.secret_file"
    }


def test_a_public_key_is_not_for_hs256() -> None:
    assert problems(with_jwt(public_key_file="k")).keys() == {"admin.jwt.public_key_file"}


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_the_other_algorithms_need_a_public_key(algorithm: str) -> None:
    assert problems(with_jwt(algorithm=algorithm)).keys() == {"admin.jwt.public_key_file"}
    assert problems(with_jwt(algorithm=algorithm, public_key_file="k")) == {}

import pytest

from equipoise.config.checks import check
from equipoise.config.problems import dotted
from equipoise.config.schema import (
    AdminConfig,
    CacheConfig,
    CertificateConfig,
    Config,
    HealthConfig,
    JwtConfig,
    ListenerConfig,
    PassiveConfig,
    PoolConfig,
    PoolTlsConfig,
    RouteConfig,
    TargetConfig,
    TlsConfig,
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


@pytest.mark.parametrize("scheme", ["http", "https", "h2c"])
def test_a_target_is_reached_by_each_scheme(scheme: str) -> None:
    assert problems(with_pool(targets=(TargetConfig(f"{scheme}://a", "a"),))) == {}


def with_tls(**keys: object) -> Config:
    tls = TlsConfig(**keys)  # type: ignore[arg-type]
    return Config(listeners=(ListenerConfig("a:443", tls),), pools={"p": POOL})


PAIR = {"certificate_file": "c.pem", "key_file": "k.pem"}
PAIRS = (CertificateConfig(**PAIR),)


@pytest.mark.parametrize(
    "keys",
    [
        PAIR,
        {"certificates": PAIRS},
        {**PAIR, "client_ca_file": "ca.pem", "client_certificates": "required"},
        {**PAIR, "client_ca_file": "ca.pem", "client_certificates": "optional"},
    ],
)
def test_a_tls_listener_has_its_certificates_in_one_place(keys: dict[str, object]) -> None:
    assert problems(with_tls(**keys)) == {}


@pytest.mark.parametrize(
    ("keys", "place", "message"),
    [
        ({}, "listeners[0].tls", "names no certificate; write certificate_file"),
        ({**PAIR, "certificates": PAIRS}, "listeners[0].tls", "has both certificate_file and certificates"),
        ({"certificate_file": "c.pem"}, "listeners[0].tls.key_file", "is missing"),
        ({"key_file": "k.pem"}, "listeners[0].tls.certificate_file", "is missing"),
        ({**PAIR, "client_certificates": "required"}, "listeners[0].tls.client_ca_file", "is missing"),
        ({**PAIR, "client_certificates": "optional"}, "listeners[0].tls.client_ca_file", "is missing"),
        ({**PAIR, "client_ca_file": "ca.pem"}, "listeners[0].tls.client_ca_file", "is of no use"),
    ],
)
def test_a_tls_listener_that_says_half_is_told_the_rest(keys: dict[str, object], place: str, message: str) -> None:
    found = problems(with_tls(**keys))
    assert list(found) == [place]
    assert found[place].startswith(message)


@pytest.mark.parametrize(
    ("keys", "place", "message"),
    [
        ({"certificate_file": "c.pem"}, "pools.p.tls.key_file", "is missing"),
        ({"key_file": "k.pem"}, "pools.p.tls.certificate_file", "is missing"),
        ({"ca_file": "ca.pem", "verify": False}, "pools.p.tls.ca_file", "is of no use while verify is false"),
    ],
)
def test_tls_to_targets_that_says_half_is_told_the_rest(keys: dict[str, object], place: str, message: str) -> None:
    found = problems(with_pool(tls=PoolTlsConfig(**keys)))  # type: ignore[arg-type]
    assert list(found) == [place]
    assert found[place].startswith(message)


def test_grpc_health_needs_targets_that_speak_http2() -> None:
    targets = (TargetConfig("h2c://a:1", "a"), TargetConfig("http://b:1", "b"), TargetConfig("https://c:1", "c"))
    found = problems(with_pool(targets=targets, health=HealthConfig(type="grpc")))
    assert [place for place, message in found.items() if "needs h2c:// or https://" in message] == [
        "pools.p.targets[1].url"
    ]


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


@pytest.mark.parametrize(
    ("cache", "place", "says"),
    [
        (CacheConfig(max_bytes=199, max_body=10), "max_body", "10 must be at most a twentieth of max_bytes, 199"),
        (CacheConfig(key_headers=("a", "traceparent")), "key_headers[1]", "is in ignore_headers too"),
        (CacheConfig(mode="rfc9111", key_headers=("accept",)), "key_headers", 'belongs to mode "identical"'),
        (
            CacheConfig(mode="rfc9111", store_anyway=("set-cookie", "private")),
            "store_anyway[1]",
            '"private" belongs to',
        ),
    ],
)
def test_keys_of_a_cache_that_contradict_each_other_are_reported(cache: CacheConfig, place: str, says: str) -> None:
    assert says in problems(with_pool(cache=cache))[f"pools.p.cache.{place}"]


@pytest.mark.parametrize(
    "cache",
    [
        CacheConfig(enabled=True),
        CacheConfig(max_bytes=200, max_body=10),
        CacheConfig(key_headers=("accept",), store_anyway=("authorization", "no-store")),
        CacheConfig(mode="rfc9111", store_anyway=("set-cookie",)),
    ],
)
def test_a_cache_that_is_consistent_is_let_pass(cache: CacheConfig) -> None:
    assert problems(with_pool(cache=cache)) == {}

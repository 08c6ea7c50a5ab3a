import json

import pytest

from tests.support.admin_api import ScriptedApi, status
from tests.unit.cli.conftest import Run

CACHE = "/v1/pools/default/cache"
USE = {
    "enabled": True, "mode": "identical", "ttl": 90.0, "entries": 1200, "bytes": 3_000_000, "max_bytes": 67108864,
    "hits": 9000, "misses": 1000, "stores": 1500, "evictions": 300, "hit_ratio": 0.9,
}  # fmt: skip


def with_caches(**caches: object) -> dict[str, object]:
    """A status whose pools have these caches."""
    found = status(**{name: [] for name in caches})
    for name, use in caches.items():
        found["pools"][name]["cache"] = use
    return found


def test_a_cache_is_switched_on_as_it_is_set(api: ScriptedApi, run: Run) -> None:
    api.says(f"PUT {CACHE}", {"version": 8, **USE})
    assert run("cache", "on").stdout == "cache of pool default: on, mode identical, ttl 90s (configuration 8)\n"
    assert api.asked("PUT")[0].body == {"enabled": True}


def test_what_is_given_is_set_and_nothing_else(api: ScriptedApi, run: Run) -> None:
    api.says(f"PUT {CACHE}", {"version": 8, **USE})
    words = ("--mode", "rfc9111", "--ttl", "30s", "--max-bytes", "1GiB", "--max-body", "2MiB", "--methods", "GET, HEAD")
    assert run("cache", "on", *words, "--key-headers", "all", "--ignore-headers", "x-a,x-b").exit_code == 0
    assert api.asked("PUT")[0].body == {
        "enabled": True, "mode": "rfc9111", "ttl": "30s", "max_bytes": "1GiB", "max_body": "2MiB",
        "methods": ["GET", "HEAD"], "key_headers": "all", "ignore_headers": ["x-a", "x-b"],
    }  # fmt: skip


def test_a_cache_is_switched_off(api: ScriptedApi, run: Run) -> None:
    api.says(f"PUT {CACHE}", {"version": 9, **USE, "enabled": False})
    assert run("cache", "off").stdout == "cache of pool default: off (configuration 9)\n"
    assert api.asked("PUT")[0].body == {"enabled": False}


def test_the_answer_to_a_switch_as_json(api: ScriptedApi, run: Run) -> None:
    api.says(f"PUT {CACHE}", b'{"version":8}')
    assert run("cache", "on", "--json").stdout == '{"version":8}\n'


def test_a_value_that_is_refused_is_told_with_its_place(api: ScriptedApi, run: Run) -> None:
    api.refuses(f"PUT {CACHE}", 422, "invalid", ("ttl", 'must be a duration with a unit, such as "250ms"'))
    result = run("cache", "on", "--ttl", "30")
    assert result.exit_code == 1
    assert result.stderr == 'equipoise cache on: ttl: must be a duration with a unit, such as "250ms"\n'


@pytest.mark.parametrize(
    ("words", "query"),
    [((), ""), (("--path", "/a?b=1"), "?path=%2Fa%3Fb%3D1"), (("--prefix", "/img"), "?prefix=%2Fimg")],
)
def test_a_cache_is_purged(api: ScriptedApi, run: Run, words: tuple[str, ...], query: str) -> None:
    api.says(f"DELETE {CACHE}{query}", {"version": 8, "pool": "default", "purged": 1})
    assert run("cache", "purge", *words).stdout == "cache of pool default: 1 answer dropped\n"


def test_a_purge_of_a_path_and_a_prefix_is_wrong_usage(api: ScriptedApi, run: Run) -> None:
    result = run("cache", "purge", "--path", "/a", "--prefix", "/b")
    assert (result.exit_code, api.asked("DELETE")) == (2, [])


@pytest.mark.parametrize("words", [("on",), ("off",), ("purge",)])
def test_with_several_pools_a_change_needs_one(api: ScriptedApi, run: Run, words: tuple[str, ...]) -> None:
    api.says("GET /v1/status", status(web=[], images=[]))
    result = run("cache", *words)
    assert (result.exit_code, api.asked("PUT"), api.asked("DELETE")) == (2, [], [])
    assert "choose one with --pool: web, images" in result.stderr


def test_the_caches_of_all_pools_are_shown(api: ScriptedApi, run: Run) -> None:
    api.says("GET /v1/status", with_caches(web=USE, images={"enabled": False, "mode": "rfc9111", "ttl": 60}))
    header, web, images = (line.split() for line in run("cache", "stats").stdout.splitlines())
    assert header[:6] == ["pool", "cache", "mode", "ttl", "entries", "size"]
    assert " ".join(web) == "web on identical 90s 1,200 2.9 MiB 64.0 MiB 9,000 1,000 90.0 % 1,500 300"
    assert " ".join(images) == "images off rfc9111 1m 0 0 B 0 B 0 0 - 0 0"


def test_the_cache_of_one_pool_is_shown(api: ScriptedApi, run: Run) -> None:
    api.says("GET /v1/status", with_caches(web=USE, images=USE))
    assert [line.split()[0] for line in run("cache", "stats", "--pool", "images").stdout.splitlines()] == [
        "pool", "images",
    ]  # fmt: skip


def test_an_older_balancer_that_says_nothing_of_caches_is_understood(run: Run) -> None:
    assert run("cache", "stats").stdout.splitlines()[1].split()[:2] == ["default", "off"]


def test_statistics_as_json(api: ScriptedApi, run: Run) -> None:
    api.says("GET /v1/status", with_caches(web=USE, images=USE))
    assert json.loads(run("cache", "stats", "--json").stdout) == {"version": 7, "pools": {"web": USE, "images": USE}}
    api.says("GET /v1/pools/web/cache", b'{"version":7,"pool":"web"}')
    assert run("cache", "stats", "--pool", "web", "--json").stdout == '{"version":7,"pool":"web"}\n'


def test_a_pool_that_does_not_exist_is_told(run: Run) -> None:
    result = run("cache", "stats", "--pool", "nope")
    assert result.exit_code != 0
    assert 'there is no pool "nope"' in result.stderr

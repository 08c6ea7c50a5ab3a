import pytest

from equipoise.config.leaves import LEAVES, nearest
from equipoise.config.schema import ALGORITHMS, SINKS


@pytest.mark.parametrize(
    ("leaf", "written", "kept", "shown"),
    [
        ("duration", "1500ms", 1.5, "1500ms"),
        ("size", "64KiB", 65536, "64KiB"),
        ("size", 4096, 4096, "4KiB"),
        ("status_range", 204, (204, 204), 204),
        ("status_range", "204", (204, 204), 204),
        ("status_range", "200-399", (200, 399), "200-399"),
        ("address", "[0::1]:80", "[::1]:80", "[::1]:80"),
        ("url", "http://web/", "http://web", "http://web"),
        ("name", "[::1]:80", "[::1]:80", "[::1]:80"),
        ("host", "WWW.example.com", "www.example.com", "www.example.com"),
        ("host", "*.example.com", "*.example.com", "*.example.com"),
        ("host", "[::1]", "[::1]", "[::1]"),
        ("path", "/health?deep=1", "/health?deep=1", "/health?deep=1"),
        ("route_path", "/a/b", "/a/b", "/a/b"),
        ("header", "User-Agent", "user-agent", "user-agent"),
        ("method", "GET", "GET", "GET"),
        ("service", "", "", ""),
        ("service", "my.package.Greeter", "my.package.Greeter", "my.package.Greeter"),
        *(("algorithm", name, name, name) for name in ALGORITHMS),
        *(("sink", name, name, name) for name in SINKS),
        ("sink", "python:json:dumps", "python:json:dumps", "python:json:dumps"),
    ],
)
def test_a_leaf_reads_and_shows_its_value(leaf: str, written: object, kept: object, shown: object) -> None:
    assert LEAVES[leaf].parse(written) == kept
    assert LEAVES[leaf].show(kept) == shown


@pytest.mark.parametrize(
    ("leaf", "written"),
    [
        ("duration", 5),
        ("duration", 0),
        ("duration", True),
        ("size", -1),
        ("size", True),
        ("size", 1.5),
        ("size", []),
        ("status_range", True),
        ("status_range", 99),
        ("status_range", 600),
        ("status_range", "399-200"),
        ("status_range", "200-"),
        ("status_range", "2xx"),
        ("status_range", [200, 299]),
        ("name", ""),
        ("name", ".."),
        ("name", "a b"),
        ("name", "a/b"),
        ("name", "ä"),
        ("name", "a\n"),
        ("name", "a" * 256),
        ("host", "web:80"),
        ("host", "*"),
        ("host", "a.*.b"),
        ("host", 3),
        ("path", ""),
        ("path", "health"),
        ("path", "/a b"),
        ("path", "/a\r\nX-Injected: 1"),
        ("route_path", "/a?b"),
        ("route_path", "/a#b"),
        ("header", "a:b"),
        ("header", ""),
        ("method", "get"),
        ("method", "GET /"),
        ("service", "two words"),
        ("service", "Grüße"),
        ("service", "x" * 257),
        ("algorithm", "least_conn"),
        ("algorithm", "python:json:dumps"),
        ("sink", "jsn"),
        ("sink", "python:json:__name__"),
    ],
)
def test_a_leaf_refuses_anything_else(leaf: str, written: object) -> None:
    with pytest.raises(ValueError, match=r"must|cannot|has no"):
        LEAVES[leaf].parse(written)


def test_a_near_word_is_suggested() -> None:
    assert nearest("wieght", ["weight", "name"]) == '; did you mean "weight"?'


def test_nothing_is_suggested_when_nothing_is_near() -> None:
    assert nearest("zzz", ["weight", "name"]) == ""

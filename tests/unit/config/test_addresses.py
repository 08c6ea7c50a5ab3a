import pytest

from equipoise.config.addresses import Address, parse_address, parse_host, parse_url


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:8080", Address("0.0.0.0", 8080)),
        ("[::]:8080", Address("::", 8080)),
        ("[0:0::1]:80", Address("::1", 80)),
        ("localhost:0", Address("localhost", 0)),
        ("my_service:65535", Address("my_service", 65535)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("8080", "host:port"),
        ("localhost", "host:port"),
        ("[::1]", "host:port"),
        (":8080", r'write "0\.0\.0\.0:8080"'),
        ("::1:8080", "without brackets"),
        ("localhost:http", "port"),
        ("localhost:65536", "port"),
        ("localhost:-1", "port"),
        ("localhost:", "port"),
        ("256.0.0.1:80", "IPv4"),
        ("1.2.3:80", "IPv4"),
        ("[::g]:80", "IPv6"),
        ("[fe80::%1]:80", "IPv6"),
        ("*:80", "host name"),
        ("a..b:80", "host name"),
        ("-a:80", "host name"),
        ("bücher:80", "host name"),
        (f"{'a' * 64}:80", "host name"),
        (f"{'a.' * 130}a:80", "host name"),
    ],
)
def test_what_is_no_address_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_address(text)


@pytest.mark.parametrize("text", ["10.0.0.1:80", "[::1]:80", "name:0"])
def test_an_address_is_shown_as_it_is_written(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    ("text", "scheme", "address"),
    [
        ("http://10.0.0.1:9001", "http", Address("10.0.0.1", 9001)),
        ("http://web", "http", Address("web", 80)),
        ("https://web", "https", Address("web", 443)),
        ("h2c://web", "h2c", Address("web", 80)),
        ("http://[::1]", "http", Address("::1", 80)),
        ("http://[::1]:81", "http", Address("::1", 81)),
    ],
)
def test_a_url_has_scheme_host_and_port(text: str, scheme: str, address: Address) -> None:
    url = parse_url(text)
    assert (url.scheme, url.address, url.text) == (scheme, address, text)


def test_a_final_slash_is_dropped() -> None:
    assert parse_url("http://web:1/").text == "http://web:1"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("web:80", "must be a URL"),
        ("http:/web", "must be a URL"),
        ("", "must be a URL"),
        ("ftp://web", 'unknown scheme "ftp"'),
        ("HTTP://web", 'unknown scheme "HTTP"'),
        ("http://", "no host"),
        ("http://:80", "no host"),
        ("http://web/a", "a path"),
        ("http://web//", "a path"),
        ("http://web?a", "a query"),
        ("http://web#a", "a fragment"),
        ("http://me@web", "a user name"),
        ("http://me:pass@web", "a user name"),
        ("http://web:0", "from 1 to 65535"),
        ("http://web:65536", "at most 65535"),
        ("http://web:８０", "port"),
        ("http://we b", "host name"),
        ("http://web\n", "host name"),
    ],
)
def test_what_is_no_url_of_a_target_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_url(text)


def test_a_url_with_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValueError, match="must not carry") as caught:
        parse_url("http://me:secret@web/path?query")
    assert "secret" not in str(caught.value)


def test_a_name_may_end_in_a_dot() -> None:
    assert parse_host("example.com.") == "example.com."

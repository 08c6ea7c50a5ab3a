from datetime import UTC, datetime
from pathlib import Path

import pytest

from equipoise.admin.auth import Verifier
from equipoise.admin.keys import make_secret, secret_path
from equipoise.cli.access import TOKEN_LIFE, RenewedToken, find_access
from equipoise.cli.options import WRONG_USAGE, CommandError
from equipoise.config.load import load

POOL = "[pools.default]\ntargets = []\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a configuration may be written; the state directory lies beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EQUIPOISE_ADMIN", raising=False)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    return tmp_path / "equipoise.toml"


def write(file: Path, admin: str = "", rest: str = POOL) -> None:
    file.write_text(f'listen = "127.0.0.1:0"\nstate_dir = "{file.parent}/state"\n[admin]\n{admin}\n{rest}')


def with_secret(file: Path) -> None:
    make_secret(secret_path(load(file)))


# The address


def test_the_option_wins(file: Path) -> None:
    write(file, 'listen = "127.0.0.1:9999"')
    access = find_access(file, "http://10.0.0.1:8081/", "t", "read")
    assert (access.url, access.source) == ("http://10.0.0.1:8081", "--admin")


def test_an_address_from_the_environment_is_named_so(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUIPOISE_ADMIN", "http://10.0.0.1:8081")
    assert find_access(file, "http://10.0.0.1:8081", "t", "read").source == "EQUIPOISE_ADMIN"


def test_a_host_and_a_port_alone_are_http(file: Path) -> None:
    assert find_access(file, "10.0.0.1:8081", "t", "read").url == "http://10.0.0.1:8081"


def test_a_path_before_the_api_is_kept(file: Path) -> None:
    assert find_access(file, "https://lb.example/equipoise/", "t", "read").url == "https://lb.example/equipoise"


@pytest.mark.parametrize("text", ["ftp://x", "http://", "http://x:99999", "http://u:p@x", "http://x?a=b", "http://x:0"])
def test_what_is_no_address_is_wrong_usage(file: Path, text: str) -> None:
    with pytest.raises(CommandError, match="--admin must be a URL") as caught:
        find_access(file, text, "t", "read")
    assert caught.value.code == WRONG_USAGE


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:9001", "http://127.0.0.1:9001"),
        ("0.0.0.0:9001", "http://127.0.0.1:9001"),
        ("[::]:9001", "http://[::1]:9001"),
        ("lb.example:9001", "http://lb.example:9001"),
    ],
)
def test_the_file_says_where_the_api_is(file: Path, listen: str, url: str) -> None:
    write(file, f'listen = "{listen}"')
    access = find_access(file, "", "t", "read")
    assert (access.url, access.source) == (url, f"[admin] listen of {file}")


def test_a_file_that_is_wrong_elsewhere_still_says_it(file: Path) -> None:
    write(file, 'listen = "127.0.0.1:9001"', '[pools.default]\nalgoritm = "random"\n')
    assert find_access(file, "", "t", "read").url == "http://127.0.0.1:9001"


def test_without_a_file_it_is_the_default(file: Path) -> None:
    access = find_access(file, "", "", "read")
    assert (access.url, access.token()) == ("http://127.0.0.1:8081", "")
    assert access.source == f"the default, because cannot read {file}: No such file or directory"


def test_a_file_that_is_no_toml_is_told(file: Path) -> None:
    file.write_text("listen = \n")
    assert "has a problem: file (line 1): not valid TOML" in find_access(file, "", "", "read").source


def test_an_api_that_is_switched_off_cannot_be_asked(file: Path) -> None:
    write(file, "enabled = false")
    with pytest.raises(CommandError, match="switched off"):
        find_access(file, "", "", "read")


def test_a_port_that_the_system_chose_must_be_given(file: Path) -> None:
    write(file, 'listen = "127.0.0.1:0"')
    with pytest.raises(CommandError, match="port 0; give --admin"):
        find_access(file, "", "", "read")


# The token


def test_a_token_that_is_given_is_used_without_its_line_end(file: Path) -> None:
    assert find_access(file, "", " t\n", "read").token() == "t"


def test_with_the_secret_at_hand_one_is_made_with_the_role_that_is_needed(file: Path) -> None:
    write(file)
    with_secret(file)
    token = find_access(file, "", "", "read").token()
    caller = Verifier(load(file)).check(token, datetime.now(UTC).timestamp())
    assert caller.role == "read"


def test_it_is_made_even_from_a_file_that_is_wrong_elsewhere(file: Path) -> None:
    write(file)
    with_secret(file)
    write(file, rest="[pools.default]\n")
    assert find_access(file, "", "", "admin").token()


def test_it_is_made_for_this_machine_by_any_of_its_names(file: Path) -> None:
    write(file, 'listen = "127.0.0.1:9001"')
    with_secret(file)
    urls = ("http://127.0.0.1:9002", "http://localhost:9001", "http://[::1]:9001")
    assert all(find_access(file, url, "", "read").token() for url in urls)


def test_another_machine_is_sent_none(file: Path) -> None:
    write(file)
    with_secret(file)
    access = find_access(file, "http://10.0.0.1:8081", "", "admin")
    assert access.token() == ""
    assert "another machine" in access.no_token


def test_without_a_secret_none_is_made_and_no_secret_either(file: Path) -> None:
    write(file)
    access = find_access(file, "", "", "read")
    assert access.token() == ""
    assert "cannot read the secret" in access.no_token
    assert not (file.parent / "state").exists()


def test_a_secret_that_is_taken_away_leaves_no_token(file: Path) -> None:
    write(file)
    with_secret(file)
    access = find_access(file, "", "", "read")
    secret_path(load(file)).unlink()
    assert access.token() == ""


def test_a_made_token_is_renewed_before_it_expires() -> None:
    now = 0.0
    names = iter(("t1", "t2"))
    token = RenewedToken(lambda: next(names), lambda: now)
    assert [token(), token()] == ["t1", "t1"]
    now = TOKEN_LIFE / 2
    assert token() == "t2"

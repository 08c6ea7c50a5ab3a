from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner

from equipoise.admin.auth import Role, Verifier
from equipoise.admin.keys import read_secret
from equipoise.cli.app import app
from equipoise.cli.token import RoleOption
from equipoise.config.load import load
from tests.unit.admin.parts import POOL
from tests.unit.admin.test_keys import private_pem, public_pem


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "equipoise.toml"
    path.write_text(f'listen = "127.0.0.1:0"\nstate_dir = "{tmp_path / "state"}"\n{POOL}')
    return path


def run(*words: object) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    result = CliRunner().invoke(app, ["token", *map(str, words)])
    return result.exit_code, result.stdout.strip(), result.stderr.strip()


def test_the_roles_are_those_of_the_admin_api() -> None:
    assert {role.value for role in RoleOption} == set(Role.__args__)  # type: ignore[attr-defined]  # a Literal


def test_a_token_is_all_that_is_printed_and_the_balancer_accepts_it(file: Path) -> None:
    code, token, _ = run("-c", file, "--role", "admin", "--subject", "ann")
    claims = jwt.decode(token, options={"verify_signature": False})
    caller = Verifier(load(file)).check(token, claims["iat"])
    assert (code, caller.role, caller.subject) == (0, "admin", "ann")


def test_without_a_role_it_may_all_and_for_an_hour(file: Path) -> None:
    claims = jwt.decode(run("-c", file)[1], options={"verify_signature": False})
    assert claims["role"] == "admin"
    assert claims["exp"] - claims["iat"] in {3601, 3602}


@pytest.mark.parametrize(("ttl", "seconds"), [("90s", 90), ("5m", 300), ("720h", 720 * 3600)])
def test_it_is_good_for_as_long_as_asked(file: Path, ttl: str, seconds: int) -> None:
    claims = jwt.decode(run("-c", file, "--ttl", ttl)[1], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] in {seconds + 1, seconds + 2}


def test_a_secret_is_made_once_and_told(file: Path, tmp_path: Path) -> None:
    assert "made the secret" in run("-c", file)[2]
    secret = read_secret(tmp_path / "state" / "jwt-secret")
    assert run("-c", file)[2] == ""
    assert read_secret(tmp_path / "state" / "jwt-secret") == secret


def test_a_private_key_signs_for_the_other_algorithms(file: Path, tmp_path: Path) -> None:
    (tmp_path / "public.pem").write_bytes(public_pem("p256"))
    (tmp_path / "private.pem").write_bytes(private_pem("p256"))
    file.write_text(
        f'{file.read_text()}[admin.jwt]\nalgorithm = "ES256"\npublic_key_file = "{tmp_path / "public.pem"}"\n'
    )
    code, token, _ = run("-c", file, "--key", tmp_path / "private.pem")
    assert (code, jwt.get_unverified_header(token)["alg"]) == (0, "ES256")
    assert run("-c", file) == (1, "", "equipoise token: ES256 needs the private key to sign with (--key)")


@pytest.mark.parametrize("ttl", ["", "0s", "60", "-1h", "1d", "forever"])
def test_a_time_that_is_none_is_wrong_usage(file: Path, ttl: str) -> None:
    code, token, error = run("-c", file, "--ttl", ttl)
    assert (code, token) == (2, "")
    assert error.startswith("--ttl: ")


def test_a_bad_configuration_is_wrong_usage(file: Path) -> None:
    file.write_text("listen = 1")
    assert run("-c", file)[0] == 2


def test_a_configured_secret_that_is_missing_is_a_failure(file: Path, tmp_path: Path) -> None:
    file.write_text(f'{file.read_text()}[admin.jwt]\nsecret_file = "{tmp_path / "nothing"}"\n')
    code, token, error = run("-c", file)
    assert (code, token) == (1, "")
    assert "cannot read the secret" in error

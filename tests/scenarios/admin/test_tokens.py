"""Who gets in at a real balancer: secrets and keys in files, tokens of `equipoise token`, and how keys rotate."""

import base64
import hashlib
import hmac
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.scenarios.admin.conftest import Administer
from tests.scenarios.support.admin import Admin, make_token
from tests.scenarios.support.balancer import Balancer, Setting, environment
from tests.scenarios.support.polling import PATIENCE
from tests.scenarios.support.stage import Stage

KEYS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
SECRET = "s" * 40


def written(folder: Path, name: str, key: Any) -> tuple[Path, Path]:
    """The files of a key pair: private and public."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def jwt_table(**keys: object) -> str:
    return "[admin.jwt]\n" + "".join(f'{name} = "{value}"\n' for name, value in keys.items())


def now() -> int:
    return int(datetime.now(UTC).timestamp())


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed(claims: object, key: bytes, **header: object) -> str:
    """A token by HS256 made by hand: a library would refuse to make some of them."""
    parts = f"{encoded({'alg': 'HS256', 'typ': 'JWT', **header})}.{encoded(claims)}"
    signature = hmac.digest(key, parts.encode(), hashlib.sha256)
    return f"{parts}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def status_with(admin: Admin, token: str) -> int:
    return admin.send("GET", "/v1/status", {"Authorization": f"Bearer {token}"}).status


def test_a_balancer_makes_a_secret_and_the_command_makes_tokens_with_it(stage: Stage, administer: Administer) -> None:
    admin = administer([stage.target()])
    secret = admin.balancer.folder / "state" / "jwt-secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    read, change = ({"Authorization": f"Bearer {make_token(admin.balancer, role)}"} for role in ("read", "admin"))
    assert admin.send("GET", "/v1/status", read).status == 200
    assert admin.send("POST", "/v1/reload", read).status == 403
    assert admin.send("POST", "/v1/reload", change).status == 200


def test_a_secret_that_the_command_made_first_is_the_balancers(tmp_path: Path) -> None:
    """Both look in the same state directory, whoever comes first."""
    text = Setting(admin=True).text([])
    (tmp_path / "equipoise.toml").write_text(text)
    command = [sys.executable, "-m", "equipoise", "token"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    with Balancer(tmp_path, text) as balancer:
        assert status_with(Admin(balancer), done.stdout.strip()) == 200


@pytest.mark.parametrize("algorithm", KEYS)
def test_key_pairs_work_and_public_keys_are_no_secrets(
    stage: Stage, administer: Administer, tmp_path: Path, algorithm: str
) -> None:
    private, public = written(tmp_path, "key", KEYS[algorithm])
    admin = administer([stage.target()], more=jwt_table(algorithm=algorithm, public_key_file=public))
    token = make_token(admin.balancer, "read", "--key", str(private))
    assert status_with(admin, token) == 200
    # What anybody could make who has seen the public key and this token.
    header, payload, _ = token.split(".")
    admin_claims = {"exp": now() + 600, "role": "admin"}
    forged = [
        signed(admin_claims, public.read_bytes()),
        signed(admin_claims, public.read_bytes(), alg=algorithm),
        signed(admin_claims, b"", alg="none"),
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}.{encoded(admin_claims)}.{token.split('.')[2]}",
    ]
    assert [status_with(admin, each) for each in forged] == [401] * 6


def test_keys_rotate_while_the_balancer_runs(stage: Stage, administer: Administer, tmp_path: Path) -> None:
    private, public = written(tmp_path, "key", KEYS["EdDSA"])
    other_private, other_public = written(tmp_path, "other", ed25519.Ed25519PrivateKey.generate())
    admin = administer([stage.target()], more=jwt_table(algorithm="EdDSA", public_key_file=public))
    old = make_token(admin.balancer, "read", "--key", str(private))
    assert status_with(admin, old) == 200
    other_public.replace(public)
    assert status_with(admin, old) == 401
    assert status_with(admin, make_token(admin.balancer, "read", "--key", str(other_private))) == 200
    public.unlink()
    assert status_with(admin, old) == 401
    assert admin.send("GET", "/healthz", {}).status == 200


def test_issuer_and_audience_are_asked_for(stage: Stage, administer: Administer, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    more = jwt_table(secret_file=tmp_path / "secret", issuer="https://issuer.example", audience="equipoise")
    admin = administer([stage.target()], more=more)
    assert status_with(admin, make_token(admin.balancer)) == 200
    good = {"exp": now() + 600, "role": "read", "iss": "https://issuer.example", "aud": ["equipoise", "other"]}
    assert status_with(admin, jwt.encode(good, SECRET)) == 200
    spoilt: list[dict[str, Any]] = [{"iss": "https://issuer"}, {"iss": ""}, {"aud": "other"}, {"aud": []}]
    for wrong in spoilt:
        assert status_with(admin, jwt.encode({**good, **wrong}, SECRET)) == 401


@pytest.mark.parametrize(
    ("claims", "detail"),
    [
        ({"exp": -60}, "token expired"),
        ({"exp": None}, "token invalid"),
        ({"exp": "soon"}, "token invalid"),
        ({"nbf": 3600}, "token invalid"),
        ({"iat": 3600}, "token invalid"),
        ({"role": None}, "token invalid"),
    ],
)
def test_a_token_says_how_long_it_is_good_for_and_what_for(
    shared_admin: Admin, claims: dict[str, Any], detail: str
) -> None:
    secret = (shared_admin.balancer.state_file.parent / "jwt-secret").read_bytes().strip()
    good: dict[str, Any] = {"exp": now() + 600, "role": "admin"}
    spoilt = {name: value + now() if isinstance(value, int) else value for name, value in claims.items()}
    given = {name: value for name, value in {**good, **spoilt}.items() if value is not None}
    reply = shared_admin.send("GET", "/v1/status", {"Authorization": f"Bearer {signed(given, secret)}"})
    assert (reply.status, reply.problem()) == (401, detail)
    assert 'error="invalid_token"' in reply.fields["www-authenticate"]


def unfit(tmp_path: Path, table: str) -> tuple[int, str]:
    """Exit code and log of a balancer that should not start."""
    (tmp_path / "equipoise.toml").write_text(Setting(admin=True, more=table).text([]))
    command = [sys.executable, "-m", "equipoise", "run"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    return done.returncode, done.stderr


UNFIT = {
    "a short secret": ("secret_file", b"s" * 31, "has 31 bytes; at least 32 are needed"),
    "an empty secret": ("secret_file", b"", "has 0 bytes"),
    "no secret file": ("secret_file", None, "cannot read the secret"),
    "a public key as secret": ("secret_file", b"-----BEGIN PUBLIC KEY-----\nAAAA", "holds a key and no secret"),
    "no key file": ("public_key_file", None, "cannot read the public key"),
    "no key in the file": ("public_key_file", b"AAAA", "holds no public key in PEM"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_balancer_that_could_check_no_token_does_not_start(tmp_path: Path, what: str) -> None:
    key, content, reason = UNFIT[what]
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    table = jwt_table(**{key: tmp_path / "file", **({"algorithm": "RS256"} if key == "public_key_file" else {})})
    code, log = unfit(tmp_path, table)
    assert code == 1
    assert "cannot start" in log
    assert reason in log
    assert "worker started" not in log


@pytest.mark.parametrize(("algorithm", "kind"), [("RS256", "ES256"), ("ES256", "EdDSA"), ("EdDSA", "RS256")])
def test_a_key_of_another_kind_keeps_the_balancer_from_starting(tmp_path: Path, algorithm: str, kind: str) -> None:
    _, public = written(tmp_path, "key", KEYS[kind])
    code, log = unfit(tmp_path, jwt_table(algorithm=algorithm, public_key_file=public))
    assert (code, f"another kind; {algorithm} needs" in log) == (1, True)

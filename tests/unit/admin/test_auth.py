"""What opens the admin API, and the long list of what does not."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.admin.auth import LONGEST_TOKEN, Caller, Grant, TokenError, Verifier, check_keys, make_token
from equipoise.admin.keys import KeyFileError
from equipoise.config.schema import Config
from tests.unit.admin.parts import admin_config
from tests.unit.admin.test_keys import FIT, SECRET, private_pem, public_pem

NOW = 1_800_000_000.0
GOOD: dict[str, Any] = {"exp": NOW + 60, "role": "read"}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims: object, key: str = SECRET, /, **header: object) -> str:
    """A token by HS256 made by hand, so that it may say anything."""
    payload = claims if isinstance(claims, str) else json.dumps(claims)
    parts = f"{b64(json.dumps({'alg': 'HS256', 'typ': 'JWT', **header}).encode())}.{b64(payload.encode())}"
    return f"{parts}.{b64(hmac.digest(key.encode(), parts.encode(), hashlib.sha256))}"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "secret").write_text(SECRET)
    return admin_config(tmp_path, f'[admin.jwt]\nsecret_file = "{tmp_path / "secret"}"')


@pytest.fixture
def verifier(config: Config) -> Verifier:
    return Verifier(config)


def refused(verifier: Verifier, token: str) -> TokenError:
    with pytest.raises(TokenError) as caught:
        verifier.check(token, NOW)
    return caught.value


def test_a_good_token_says_who_calls_as_what_and_until_when(verifier: Verifier) -> None:
    token = signed({**GOOD, "role": "admin", "sub": "ann", "nbf": NOW, "iat": NOW})
    assert verifier.check(token, NOW) == Caller("admin", "ann", NOW + 70)


def test_optional_claims_may_be_missing_or_null(verifier: Verifier) -> None:
    assert verifier.check(signed({**GOOD, "nbf": None, "iss": None, "aud": None}), NOW).role == "read"


def test_other_claims_are_ignored(verifier: Verifier) -> None:
    assert verifier.check(signed({**GOOD, "jti": "1", "scope": ["admin"]}), NOW).role == "read"


# Times


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"exp": NOW - 9}, id="expired within the leeway"),
        pytest.param({"nbf": NOW + 10}, id="begins within the leeway"),
        pytest.param({"iat": NOW + 10}, id="made within the leeway"),
    ],
)
def test_clocks_may_differ_by_the_leeway(verifier: Verifier, claims: dict[str, Any]) -> None:
    verifier.check(signed({**GOOD, **claims}), NOW)


@pytest.mark.parametrize("exp", [NOW - 10, NOW - 3600, 0, -1])
def test_an_expired_token_is_told_so(verifier: Verifier, exp: float) -> None:
    assert refused(verifier, signed({**GOOD, "exp": exp})).public == "token expired"


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_of_the_future_is_refused(verifier: Verifier, claim: str) -> None:
    assert refused(verifier, signed({**GOOD, claim: NOW + 11})).public == "token invalid"


def test_only_a_token_that_was_good_is_called_expired(verifier: Verifier) -> None:
    assert refused(verifier, signed({**GOOD, "exp": 1}, "t" * 32)).public == "token invalid"


# Claims


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"role": "admin"}, id="no exp"),
        pytest.param({"exp": NOW + 60}, id="no role"),
        pytest.param({**GOOD, "role": None}, id="null role"),
        pytest.param({**GOOD, "role": ["admin"]}, id="role as list"),
        pytest.param({**GOOD, "exp": None}, id="null exp"),
        pytest.param({**GOOD, "exp": str(int(NOW + 60))}, id="exp as string"),
        pytest.param({**GOOD, "exp": True}, id="exp as truth value"),
        pytest.param({**GOOD, "exp": [NOW + 60]}, id="exp as list"),
        pytest.param('{"role": "admin", "exp": NaN}', id="exp NaN"),
        pytest.param('{"role": "admin", "exp": Infinity}', id="exp Infinity"),
        pytest.param('{"role": "admin", "exp": 1e999}', id="exp too large for a float"),
        pytest.param('{"role": "admin", "exp": ' + "9" * 5000 + "}", id="exp with thousands of digits"),
        pytest.param({**GOOD, "nbf": "0"}, id="nbf as string"),
        pytest.param({**GOOD, "iat": "0"}, id="iat as string"),
        pytest.param({**GOOD, "sub": 7}, id="sub as number"),
        pytest.param([], id="a list"),
        pytest.param('"text"', id="a text"),
        pytest.param("", id="nothing"),
        pytest.param("{", id="no JSON"),
        pytest.param("[" * 3000, id="nested deeply"),
        pytest.param('{"exp": 2000000000, "role": "admin"} {}', id="trailing data"),
    ],
)
def test_claims_that_are_missing_or_of_another_type_are_refused(verifier: Verifier, claims: object) -> None:
    assert refused(verifier, signed(claims)).public == "token invalid"


@pytest.mark.parametrize(
    "issuer", [None, "", "https://a.example", "https://a.example/iss/more", "ttps://a.example/iss"]
)
@pytest.mark.usefixtures("config")
def test_the_issuer_is_compared_whole(tmp_path: Path, issuer: str | None) -> None:
    text = f'[admin.jwt]\nsecret_file = "{tmp_path / "secret"}"\nissuer = "https://a.example/iss"'
    verifier = Verifier(admin_config(tmp_path, text))
    verifier.check(signed({**GOOD, "iss": "https://a.example/iss"}), NOW)
    refused(verifier, signed({**GOOD, "iss": issuer}))
    refused(verifier, signed({**GOOD, "iss": ["https://a.example/iss"]}))


@pytest.mark.parametrize("audience", [None, "", "equipois", "equipoise2", [], ["other"], ["equi", "poise"]])
@pytest.mark.usefixtures("config")
def test_the_audience_is_one_of_those_named(tmp_path: Path, audience: object) -> None:
    text = f'[admin.jwt]\nsecret_file = "{tmp_path / "secret"}"\naudience = "equipoise"'
    verifier = Verifier(admin_config(tmp_path, text))
    verifier.check(signed({**GOOD, "aud": "equipoise"}), NOW)
    verifier.check(signed({**GOOD, "aud": ["other", "equipoise"]}), NOW)
    refused(verifier, signed({**GOOD, "aud": audience}))


# Signatures


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "nOnE", "", "HS384", "HS512", "RS256", "ES256", "hs256", None, 1, []], ids=repr
)
def test_the_header_cannot_choose_the_algorithm(verifier: Verifier, algorithm: object) -> None:
    assert refused(verifier, signed(GOOD, alg=algorithm)).public == "token invalid"


def test_an_unsigned_token_is_refused(verifier: Verifier) -> None:
    header, claims = b64(b'{"alg":"none","typ":"JWT"}'), b64(json.dumps(GOOD).encode())
    refused(verifier, f"{header}.{claims}.")
    # The same header with the configured algorithm, and no signature.
    refused(verifier, signed(GOOD).rpartition(".")[0] + ".")


@pytest.mark.parametrize("key", ["t" * 32, SECRET[:-1], SECRET + "s", ""])
def test_another_key_is_refused(verifier: Verifier, key: str) -> None:
    assert refused(verifier, signed(GOOD, key)).public == "token invalid"


def test_a_public_key_is_no_secret_to_sign_with(tmp_path: Path) -> None:
    """CVE-2015-9235: the balancer's public key as the secret of HS256."""
    (tmp_path / "public.pem").write_bytes(public_pem("rsa"))
    text = f'[admin.jwt]\nalgorithm = "RS256"\npublic_key_file = "{tmp_path / "public.pem"}"'
    verifier = Verifier(admin_config(tmp_path, text))
    refused(verifier, signed(GOOD, public_pem("rsa").decode()))
    refused(verifier, signed(GOOD, public_pem("rsa").decode().strip()))
    refused(verifier, signed(GOOD, public_pem("rsa").decode(), alg="RS256"))


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": {"kty": "oct", "k": b64(b"t" * 32)}},
        {"jku": "http://127.0.0.1:1/keys"},
        {"x5u": "http://127.0.0.1:1/certificate"},
        {"x5c": ["AAAA"]},
        {"kid": "../../../../dev/null"},
        {"kid": "' UNION SELECT 'tttttttttttttttttttttttttttttttt"},
    ],
)
def test_a_key_that_the_token_brings_or_names_gains_nothing(verifier: Verifier, header: dict[str, object]) -> None:
    refused(verifier, signed(GOOD, "t" * 32, **header))
    refused(verifier, signed(GOOD, "", **header))


def test_a_header_that_names_a_key_does_not_spoil_a_good_token(verifier: Verifier) -> None:
    assert verifier.check(signed(GOOD, kid="2026-01"), NOW).role == "read"


@pytest.mark.parametrize(
    "header", [{"crit": ["exp"]}, {"crit": []}, {"crit": "b64"}, {"b64": False}, {"b64": False, "crit": ["b64"]}]
)
def test_an_extension_that_we_do_not_know_is_refused(verifier: Verifier, header: dict[str, object]) -> None:
    refused(verifier, signed(GOOD, **header))


MANGLED: dict[str, Callable[[str], str]] = {
    "empty": lambda _token: "",
    "dots": lambda _token: "..",
    "no signature": lambda token: token.rpartition(".")[0],
    "a segment more": lambda token: token + ".AAAA",
    "five segments, as encrypted ones have": lambda token: token + ".AAAA.AAAA",
    "trailing data": lambda token: token + "!",
    "a space within": lambda token: token.replace(".", ". ", 1),
    "other alphabet": lambda token: token[:-1] + "/",
    "not ASCII": lambda token: token + "\u00e9",
    "NUL": lambda token: token + "\0",
    "another payload": lambda token: ".".join(
        [token.split(".")[0], b64(b'{"exp":9e9,"role":"admin"}'), token.split(".")[2]]
    ),
    "header nested deeply": lambda token: b64(b"[" * 4000) + token[token.index(".") :],
    "header is a number with thousands of digits": lambda token: b64(b"9" * 5000) + token[token.index(".") :],
}


@pytest.mark.parametrize("mangle", MANGLED.values(), ids=MANGLED)
def test_a_mangled_token_is_refused(verifier: Verifier, mangle: Callable[[str], str]) -> None:
    assert refused(verifier, mangle(signed(GOOD))).public == "token invalid"


def test_a_token_may_be_8_kib_long_and_no_longer(verifier: Verifier) -> None:
    fitting = signed({**GOOD, "pad": "x" * 6000})
    assert len(fitting) < LONGEST_TOKEN
    verifier.check(fitting, NOW)
    assert refused(verifier, signed({**GOOD, "pad": "x" * 6200})).reason == "longer than 8 KiB"


@given(token=st.text(max_size=200) | st.binary(max_size=200).map(lambda data: f"{b64(data)}.{b64(data)}.{b64(data)}"))
def test_no_text_is_anything_but_refused(tmp_path_factory: pytest.TempPathFactory, token: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "secret").write_text(SECRET)
    verifier = Verifier(admin_config(folder, f'[admin.jwt]\nsecret_file = "{folder / "secret"}"'))
    refused(verifier, token)


# Keys


def test_a_key_that_rotates_is_in_force_at_once(tmp_path: Path, verifier: Verifier) -> None:
    verifier.check(signed(GOOD), NOW)
    (tmp_path / "new").write_text("t" * 40)
    (tmp_path / "new").replace(tmp_path / "secret")
    refused(verifier, signed(GOOD))
    assert verifier.check(signed(GOOD, "t" * 40), NOW).role == "read"


def test_without_its_key_every_token_is_refused(tmp_path: Path, verifier: Verifier) -> None:
    (tmp_path / "secret").unlink()
    error = refused(verifier, signed(GOOD))
    assert error.public == "token invalid"
    assert "cannot read the secret" in error.reason


def test_a_secret_is_made_when_none_is_configured(tmp_path: Path) -> None:
    config = admin_config(tmp_path)
    check_keys(config, create=True)
    assert (tmp_path / "state" / "jwt-secret").exists()


def test_a_check_alone_makes_nothing_and_misses_nothing(tmp_path: Path) -> None:
    config = admin_config(tmp_path)
    check_keys(config, create=False)
    assert not (tmp_path / "state").exists()
    check_keys(config, create=True)
    (tmp_path / "state" / "jwt-secret").write_text("short")
    with pytest.raises(KeyFileError, match="has 5 bytes"):
        check_keys(config, create=False)


def test_a_secret_that_is_configured_is_never_made(tmp_path: Path) -> None:
    config = admin_config(tmp_path, f'[admin.jwt]\nsecret_file = "{tmp_path / "secret"}"')
    with pytest.raises(KeyFileError, match="cannot read the secret"):
        check_keys(config, create=True)
    assert not (tmp_path / "secret").exists()


# Making


def pair_config(folder: Path, algorithm: str, name: str) -> Config:
    (folder / "public.pem").write_bytes(public_pem(name))
    (folder / "private.pem").write_bytes(private_pem(name))
    text = f'[admin.jwt]\nalgorithm = "{algorithm}"\npublic_key_file = "{folder / "public.pem"}"'
    return admin_config(folder, f'{text}\nissuer = "us"\naudience = "equipoise"')


@pytest.mark.parametrize(("algorithm", "name"), FIT)
def test_a_token_made_with_a_private_key_is_accepted(tmp_path: Path, algorithm: str, name: str) -> None:
    config = pair_config(tmp_path, algorithm, name)
    check_keys(config, create=True)
    token = make_token(config, Grant("admin", 60.0, "ann"), private_key=tmp_path / "private.pem")
    claims = jwt.decode(token, options={"verify_signature": False})
    caller = Verifier(config).check(token, claims["iat"])
    assert (caller.role, caller.subject) == ("admin", "ann")
    assert (claims["iss"], claims["aud"]) == ("us", "equipoise")
    assert claims["exp"] - claims["iat"] in {61, 62}


def test_a_private_key_that_does_not_belong_to_the_public_one_is_refused(tmp_path: Path) -> None:
    config = pair_config(tmp_path, "EdDSA", "ed25519")
    (tmp_path / "other.pem").write_bytes(private_pem("ed448"))
    with pytest.raises(KeyFileError, match=r"other\.pem makes no token that the balancer accepts"):
        make_token(config, Grant(), private_key=tmp_path / "other.pem")


def test_an_algorithm_with_a_key_pair_needs_the_private_key(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="ES256 needs the private key"):
        make_token(pair_config(tmp_path, "ES256", "p256"), Grant())


def test_hs256_takes_no_private_key(config: Config, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="takes no private key"):
        make_token(config, Grant(), private_key=tmp_path / "private.pem")


def test_a_token_makes_the_secret_only_when_told_to(tmp_path: Path) -> None:
    config = admin_config(tmp_path)
    with pytest.raises(KeyFileError, match="cannot read the secret"):
        make_token(config, Grant())
    assert not (tmp_path / "state").exists()
    make_token(config, Grant(), create=True)
    assert make_token(config, Grant())

"""Tokens of the admin API: what opens it, for any claims, times, keys and damage.

The model of the rules is as plain as one can be; whom a token is for, and from whom, PyJWT says too.
"""

import base64
import hashlib
import hmac
import json
import string
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from equipoise.admin.auth import EXPIRED, INVALID, Caller, Grant, TokenError, Verifier, make_token
from equipoise.config.load import parse
from equipoise.config.schema import Config

NOW = 1_800_000_000
LEEWAY = 10
SECRET = "a secret of 32 octets, or some more"
ISSUER = "https://login.test"
AUDIENCE = "equipoise"
ALPHABET = string.ascii_letters + string.digits + "-_"

# Around the moments at which a verdict changes, with and without the leeway.
MOMENTS = st.sampled_from([NOW + near + edge for near in (-LEEWAY, 0, LEEWAY) for edge in (-1, -0.5, 0, 0.5, 1)])
NUMBERS = MOMENTS | st.integers(0, 2**40) | st.floats(allow_nan=False, allow_infinity=False)
OTHER = st.none() | st.booleans() | st.text(max_size=5) | st.lists(st.integers(), max_size=2) | st.just({"a": 1})
ISSUERS = st.sampled_from([ISSUER, ISSUER + "/", ISSUER[:-1], ""]) | OTHER
AUDIENCES = st.sampled_from([AUDIENCE, "equi", ""]) | OTHER
CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "exp": NUMBERS | NUMBERS | OTHER,
        "nbf": NUMBERS | OTHER,
        "iat": NUMBERS | OTHER,
        "role": st.sampled_from(["read", "admin"]) | st.sampled_from(["read", "admin"]) | OTHER,
        "iss": ISSUERS,
        "aud": AUDIENCES | st.lists(st.sampled_from([AUDIENCE, "other"]), max_size=3),
        "sub": st.text(max_size=5) | OTHER,
        "jti": OTHER,
    },
)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims: object, key: bytes = SECRET.encode()) -> str:
    """A token by HS256 made by hand, so that it may say anything."""
    parts = ".".join(b64(json.dumps(each).encode()) for each in ({"alg": "HS256"}, claims))
    return f"{parts}.{b64(hmac.digest(key, parts.encode(), hashlib.sha256))}"


def config(folder: Path, more: str = "") -> Config:
    (folder / "secret").write_text(SECRET)
    rules = f'secret_file = "{folder / "secret"}"\nleeway = "{LEEWAY}s"\n{more}'
    return parse(f'listen = "127.0.0.1:1"\n[pools.a]\ntargets = ["http://127.0.0.1:1"]\n[admin.jwt]\n{rules}', {})


@pytest.fixture(scope="module")
def open_to_all(tmp_path_factory: pytest.TempPathFactory) -> Verifier:
    """Asks neither for whom a token is nor from whom."""
    return Verifier(config(tmp_path_factory.mktemp("open")))


@pytest.fixture(scope="module")
def particular(tmp_path_factory: pytest.TempPathFactory) -> Verifier:
    return Verifier(config(tmp_path_factory.mktemp("particular"), f'issuer = "{ISSUER}"\naudience = "{AUDIENCE}"'))


def verdict(verifier: Verifier, token: str) -> Caller | str:
    """Who calls, or what the client is told."""
    try:
        return verifier.check(token, NOW)
    except TokenError as error:
        return error.public


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_well_formed(claims: Mapping[str, Any]) -> bool:
    """RFC 7519 4.1: times are numbers, names are strings, an audience is one or a list; `exp` and `role` are there."""
    optional = [claims.get(name) for name in ("nbf", "iat")]
    audience = claims.get("aud")
    listed = audience if isinstance(audience, list) else [audience]
    return (
        is_number(claims.get("exp"))
        and isinstance(claims.get("role"), str)
        and all(value is None or is_number(value) for value in optional)
        and all(claims.get(name) is None or isinstance(claims[name], str) for name in ("iss", "sub"))
        and (audience is None or all(isinstance(each, str) for each in listed))
    )


@given(CLAIMS)
def test_a_token_opens_from_its_start_to_its_end_and_at_no_other_time(
    open_to_all: Verifier, claims: dict[str, Any]
) -> None:
    found = verdict(open_to_all, signed(claims))
    if not is_well_formed(claims):
        assert found == INVALID
        return
    starts = [claims[name] for name in ("nbf", "iat") if claims.get(name) is not None]
    if any(start > NOW + LEEWAY for start in starts):
        assert found == INVALID
    elif claims["exp"] <= NOW - LEEWAY:
        assert found == EXPIRED
    else:
        assert found == Caller(claims["role"], claims.get("sub") or "", claims["exp"] + LEEWAY)


@given(ISSUERS, AUDIENCES | st.lists(st.sampled_from([AUDIENCE, "other"]), max_size=3))
def test_a_token_is_from_whom_and_for_whom_the_library_says(particular: Verifier, iss: Any, aud: Any) -> None:
    claims = {"exp": NOW + 60, "role": "read", "iss": iss, "aud": aud}
    token = signed(claims)
    options: Any = dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat"), False)
    try:
        jwt.decode(token, SECRET, algorithms=["HS256"], issuer=ISSUER, audience=AUDIENCE, options=options)
    except jwt.InvalidTokenError:
        assert verdict(particular, token) == INVALID
    else:
        assert verdict(particular, token) == Caller("read", "", NOW + 60 + LEEWAY)


@given(st.data())
def test_damage_anywhere_opens_nothing(open_to_all: Verifier, data: st.DataObject) -> None:
    token = signed({"exp": NOW + 60, "role": "read", "sub": data.draw(st.text(max_size=20))})
    at = data.draw(st.integers(0, len(token) - 1))
    middle = data.draw(st.sampled_from([*ALPHABET, "", ".", "=", "+", "/", " ", "\n", "\0", "\u00e9"]))
    damaged = token[:at] + middle + token[at + data.draw(st.integers(0, 1)) :]
    # The last character of 32 octets in base64 has two bits that say nothing.
    assume(damaged != token and damaged[:-1] != token[:-1])
    assert verdict(open_to_all, damaged) == INVALID


@given(st.binary(max_size=80))
def test_no_other_key_opens(open_to_all: Verifier, key: bytes) -> None:
    # HMAC (RFC 2104) fills a key up with zeros, so those at its end say nothing.
    assume(key.rstrip(b"\0") != SECRET.encode())
    assert verdict(open_to_all, signed({"exp": NOW + 60, "role": "admin"}, key)) == INVALID


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_signature_is_carried_over_to_other_claims(open_to_all: Verifier, one: str, other: str) -> None:
    assume(one != other)
    tokens = [signed({"exp": NOW + 60, "role": "read", "sub": sub}).split(".") for sub in (one, other)]
    assert verdict(open_to_all, ".".join([*tokens[0][:2], tokens[1][2]])) == INVALID


@given(st.sampled_from(["read", "admin"]), st.floats(1, 10**7), st.text(max_size=40))
def test_what_we_make_opens_as_what_it_was_made_for(
    tmp_path_factory: pytest.TempPathFactory, role: Any, ttl: float, subject: str
) -> None:
    settings = config(tmp_path_factory.getbasetemp(), f'issuer = "{ISSUER}"\naudience = "{AUDIENCE}"')
    before = datetime.now(UTC).timestamp()
    token = make_token(settings, Grant(role, ttl, subject))
    caller = Verifier(settings).check(token, before + 1)
    assert (caller.role, caller.subject) == (role, subject)
    assert caller.until - LEEWAY >= before + ttl

"""What the control plane reads: the configuration file, tokens, and bodies of calls.

Owns: what must hold of any file, of any token and of any body.
Refuses to know: where the bytes come from.
"""

import base64
import hashlib
import hmac
import json
import math
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

import jwt

from equipoise.admin.auth import EXPIRED, INVALID, TokenError, Verifier
from equipoise.admin.bodies import parse as parse_body
from equipoise.admin.problems import ProblemError
from equipoise.config.decode import decode, plain
from equipoise.config.load import ConfigError, parse
from equipoise.config.schema import Config

ENVIRONMENT: Final = {"NAME": "value", "EMPTY": ""}
SECRET: Final = "a secret of 32 octets, or some more"  # noqa: S105  (it opens nothing)
NOW: Final = 1_800_000_000.0
LEEWAY: Final = 10.0
LONGEST_NUMBER: Final = 18


def check_config(data: bytes) -> None:
    """A file: a configuration that says the same when it is written out and read again, or problems with words."""
    try:
        config = parse(data.decode("utf-8", "replace"), ENVIRONMENT)
    except ConfigError as error:
        if not error.problems or not all(problem.message for problem in error.problems):
            raise AssertionError("refused without a word") from error
        return
    problems: list[object] = []
    whole = plain(config)
    assert isinstance(whole, dict)
    again = decode(json.loads(json.dumps(whole)), lambda *problem: problems.append(problem))
    assert problems == []
    assert again == config


def check_token(data: bytes) -> None:
    """A token as it came, and the same bytes as the claims of one that is signed as it should be."""
    verifier = _verifier()
    _check(verifier, data.decode("latin-1"))
    header, _, claims = data.rpartition(b"\xff")
    _check(verifier, _signed(header or b'{"alg":"HS256"}', claims))


def _check(verifier: Verifier, token: str) -> None:
    """What we accept, the library accepts with everything asked for; whatever we do not is refused in the one way."""
    try:
        caller = verifier.check(token, NOW)
    except TokenError as error:
        if error.public not in {EXPIRED, INVALID}:
            raise AssertionError(f"the client is told: {error.public}") from error
        return
    options: Any = {
        **dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_aud"), False),
        "require": ["exp"],
    }
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], options=options)
    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    assert isinstance(claims["exp"], int | float)
    assert claims["exp"] > NOW - LEEWAY
    assert caller.role == claims["role"]
    assert isinstance(caller.role, str)
    for name in ("nbf", "iat"):
        start = claims.get(name)
        assert start is None or start <= NOW + LEEWAY


def check_body(data: bytes) -> None:
    """A body: what Python's own reader finds in it, or refused for a reason that we know."""
    try:
        value = parse_body(data)
    except ProblemError as error:
        if error.status_code != 422 or not error.errors:
            raise AssertionError(f"refused as {error.status_code}") from error
        if not _is_refusable(data):
            raise AssertionError(f"refused: {error.detail}") from error
        return
    assert value == json.loads(data.decode())
    assert value == parse_body(json.dumps(value, ensure_ascii=False).encode())


def _is_refusable(data: bytes) -> bool:
    """Whether the body is no JSON, or JSON in one of the ways that we do not take."""
    objections: list[bool] = []

    def table(pairs: list[tuple[str, object]]) -> dict[str, object]:
        objections.append(len(dict(pairs)) < len(pairs))
        return dict(pairs)

    try:
        value = json.loads(
            data.decode(),
            object_pairs_hook=table,
            parse_constant=lambda _: objections.append(True),
            parse_int=lambda digits: objections.append(len(digits.lstrip("-")) > LONGEST_NUMBER),
            parse_float=lambda text: objections.append(math.isinf(float(text))),
        )
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return True
    return any(objections)


def _signed(header: bytes, claims: bytes) -> str:
    parts = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, claims))
    signature = hmac.digest(SECRET.encode(), parts, hashlib.sha256)
    return (parts + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


@cache
def _verifier() -> Verifier:
    folder = Path(tempfile.mkdtemp(prefix="equipoise-fuzz-"))
    secret = folder / "secret"
    secret.write_text(SECRET)
    text = f'[pools.a]\ntargets = ["http://127.0.0.1:1"]\n[admin.jwt]\nsecret_file = "{secret}"'
    config: Config = parse(f'listen = "127.0.0.1:1"\n{text}', {})
    verifier = Verifier(config)
    verifier.key_file.key()
    return verifier

"""Tokens: who may call the admin API, and as what.

Owns: the claims of a token, what makes one valid, and how one is made.
Refuses to know: HTTP, and where keys come from (`keys`).

A token is a JWT (RFC 7519) signed with the one algorithm that is configured. Its header chooses nothing: neither the
algorithm nor, by `jwk`, `jku`, `x5u` or `kid`, the key.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import jwt
import msgspec

from equipoise.admin.keys import (
    HS256,
    KeyFile,
    KeyFileError,
    make_secret,
    read_private_key,
    read_public_key,
    read_secret,
    secret_path,
)
from equipoise.config.schema import Config

Role = Literal["read", "admin"]
LONGEST_TOKEN: Final = 8 * 1024
EXPIRED: Final = "token expired"
INVALID: Final = "token invalid"


class TokenError(Exception):
    """A token that opens nothing.

    Attributes:
        public: what the client is told, `EXPIRED` or `INVALID`.
        reason: what the log is told.
    """

    def __init__(self, reason: str, public: str = INVALID) -> None:
        super().__init__(reason)
        self.public = public
        self.reason = reason


class Claims(msgspec.Struct, frozen=True):
    """What a token says, types checked strictly: RFC 7519 has numbers for times and strings for names."""

    exp: float
    role: str
    nbf: float | None = None
    iat: float | None = None
    iss: str | None = None
    aud: str | list[str] | None = None
    sub: str | None = None


@dataclass(frozen=True)
class Caller:
    """Who calls, until when (seconds since the epoch). A role that is neither `read` nor `admin` may do nothing."""

    role: str
    subject: str
    until: float


@dataclass(frozen=True)
class Grant:
    """What a new token is to allow; `ttl` is in seconds."""

    role: Role = "read"
    ttl: float = 3600.0
    subject: str = "equipoise"


class Verifier:
    """Checks tokens against the configuration."""

    def __init__(self, config: Config) -> None:
        """No file is read yet.

        Args:
            config: of which `admin.jwt` and `state_dir` count.
        """
        self._rules = config.admin.jwt
        algorithm = self._rules.algorithm
        self.key_file = (
            KeyFile(secret_path(config), read_secret)
            if algorithm == HS256
            else KeyFile(Path(self._rules.public_key_file), lambda path: read_public_key(path, algorithm))
        )
        # It knows no other algorithm, so no header can talk it into one.
        self._signatures = jwt.PyJWS(algorithms=[algorithm])

    def check(self, token: str, now: float) -> Caller:
        """Who holds the token.

        Args:
            token: as the client sent it.
            now: seconds since the epoch.

        Raises:
            TokenError: it is not valid, or no longer.
        """
        if len(token) > LONGEST_TOKEN:
            raise TokenError("longer than 8 KiB")
        claims = self._claims(token)
        leeway = self._rules.leeway
        # Everything but the time first: "expired" is only said of a token that was good.
        if self._rules.issuer and claims.iss != self._rules.issuer:
            raise TokenError("another issuer")
        if self._rules.audience and self._rules.audience not in _listed(claims.aud):
            raise TokenError("another audience")
        if any(start is not None and start > now + leeway for start in (claims.nbf, claims.iat)):
            raise TokenError("not valid yet")
        if claims.exp <= now - leeway:
            raise TokenError("expired", EXPIRED)
        return Caller(claims.role, claims.sub or "", claims.exp + leeway)

    def _claims(self, token: str) -> Claims:
        try:
            key = self.key_file.key()
        except KeyFileError as error:
            raise TokenError(str(error)) from error
        try:
            payload = self._signatures.decode(token, key, algorithms=[self._rules.algorithm])
            # As text: of bytes, msgspec would not look at the UTF-8 of claims that it passes over.
            return msgspec.json.decode(payload.decode(), type=Claims)
        except Exception as error:  # a hostile token may make the libraries raise anything; it is invalid then
            raise TokenError(f"{type(error).__name__}: {error}") from error


def check_keys(config: Config, *, create: bool) -> None:
    """Make sure that tokens can be checked.

    Args:
        config: of which `admin.jwt` and `state_dir` count.
        create: whether the secret for HS256 is made when none is configured and none was made yet. Without, that there
            is none is no failure: there will be one.

    Raises:
        KeyFileError: they cannot; the text says what to do.
    """
    if _makes_secret(config):
        secret = secret_path(config)
        if create:
            make_secret(secret)
        elif not secret.exists():
            return
    Verifier(config).key_file.key()


def make_token(config: Config, grant: Grant, *, private_key: Path | None = None, create: bool = False) -> str:
    """A token that a balancer with this configuration accepts.

    Args:
        config: of which `admin.jwt` and `state_dir` count.
        grant: what it allows, and for how long from now.
        private_key: file with the private key (PEM), for the algorithms that have one.
        create: whether the secret for HS256 is made when there is none yet.

    Raises:
        KeyFileError: there is no key to sign with, or it does not belong to the one that the balancer checks with.
    """
    rules = config.admin.jwt
    if create and _makes_secret(config):
        make_secret(secret_path(config))
    now = datetime.now(UTC).timestamp()
    claims: dict[str, Any] = {
        "sub": grant.subject,
        "role": grant.role,
        "iat": int(now),
        # Never shorter than asked for.
        "exp": int(now + grant.ttl) + 1,
    }
    claims |= {name: value for name, value in (("iss", rules.issuer), ("aud", rules.audience)) if value}
    token = jwt.encode(claims, _signing_key(config, private_key), algorithm=rules.algorithm)
    try:
        Verifier(config).check(token, now)
    except TokenError as error:
        raise KeyFileError(f"{private_key or 'the key'} makes no token that the balancer accepts ({error})") from error
    return token


def _makes_secret(config: Config) -> bool:
    """Whether the secret is ours to make."""
    return config.admin.jwt.algorithm == HS256 and not config.admin.jwt.secret_file


def _signing_key(config: Config, private_key: Path | None) -> Any:
    algorithm = config.admin.jwt.algorithm
    if algorithm == HS256:
        if private_key is not None:
            raise KeyFileError("HS256 signs with the secret; it takes no private key")
        return read_secret(secret_path(config))
    if private_key is None:
        raise KeyFileError(f"{algorithm} needs the private key to sign with (--key)")
    return read_private_key(private_key, algorithm)


def _listed(audience: str | list[str] | None) -> list[str]:
    return [audience] if isinstance(audience, str) else audience or []

"""Where the admin API is, and with which token it is asked.

Owns: the order in which address and token are looked for, and the rule for whom a token is made on the spot.
Refuses to know: HTTP, and how a token is made (admin.auth).

A token that is made here goes to this machine only, or to the address that the configuration itself names: another
address would be handed a token that is good for this balancer.
"""

import ipaddress
import json
import os
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from equipoise.cli.options import WRONG_USAGE, CommandError
from equipoise.config.addresses import Address, parse_address
from equipoise.config.load import ConfigError, load, parse
from equipoise.config.schema import Config

DEFAULT_URL: Final = "http://127.0.0.1:8081"
TOKEN_LIFE: Final = 60.0
"""Seconds for which a token made on the spot is good: longer than any call, too short to be worth stealing."""
Role = Literal["read", "admin"]
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- where clients of this machine find who listens there


@dataclass(frozen=True)
class Access:
    """How the admin API is reached.

    Attributes:
        url: scheme, host, port and perhaps a path, without a slash at its end.
        source: where the address comes from, for messages.
        token: gives the token to send; an empty one when there is none.
        no_token: why there is none; empty when there is one.
    """

    url: str
    source: str
    token: Callable[[], str]
    no_token: str = ""


def find_access(file: Path, admin: str, token: str, role: Role) -> Access:
    """The access by options, environment and configuration file, in this order.

    Args:
        file: the configuration file; it need not exist, nor be good.
        admin: the address that was given; empty for none.
        token: the token that was given; empty for none.
        role: of a token made on the spot: `read` or `admin`.

    Raises:
        CommandError: the address is none, or the file says that there is no admin API.
    """
    config, trouble = (None, "") if admin and token else _read(file)
    if admin:
        source = "EQUIPOISE_ADMIN" if admin == os.environ.get("EQUIPOISE_ADMIN") else "--admin"
        url = _checked(admin, source)
    else:
        url, source = _configured(config, file) if config else (DEFAULT_URL, f"the default, because {trouble}")
    if token:
        return Access(url, source, token.strip)
    if config is None:
        return Access(url, source, _no_token, trouble)
    if not _is_own(url, config):
        return Access(url, source, _no_token, f"none is made for {url}, which is another machine than this one")
    return _local(config, role, (url, source))


def _local(config: Config, role: Role, where: tuple[str, str]) -> Access:
    """With a token from the secret, if it can be read."""
    from equipoise.admin.auth import Grant, make_token
    from equipoise.admin.keys import KeyFileError

    grant = Grant(role=role, ttl=TOKEN_LIFE, subject="equipoise")
    try:
        make_token(config, grant)
    except KeyFileError as error:
        return Access(*where, _no_token, f"none could be made: {error}")

    def make() -> str:
        try:
            return make_token(config, grant)
        except KeyFileError:  # gone meanwhile: the API will say what it makes of a call without a token
            return ""

    return Access(*where, RenewedToken(make))


def _no_token() -> str:
    return ""


class RenewedToken:
    """A token that is made anew when half of its life is over: `top` runs longer than one lives."""

    def __init__(self, make: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        """Makes none yet."""
        self._make = make
        self._clock = clock
        self._token = ""
        self._due = -1.0

    def __call__(self) -> str:
        """The token to use now."""
        if self._clock() >= self._due or not self._token:
            self._token = self._make()
            self._due = self._clock() + TOKEN_LIFE / 2
        return self._token


# The address


def _checked(text: str, source: str) -> str:
    url = text.strip()
    if "://" not in url:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    else:
        good = good and not (parts.query or parts.fragment or parts.username)
    if not good:
        raise CommandError(f"{source} must be a URL such as {DEFAULT_URL}, not {text!r}", WRONG_USAGE)
    return url.rstrip("/")


def _configured(config: Config, file: Path) -> tuple[str, str]:
    source = f"[admin] listen of {file}"
    if not config.admin.enabled:
        raise CommandError(f"the admin API is switched off: [admin] enabled is false in {file}")
    host, port = parse_address(config.admin.listen)
    if port == 0:
        raise CommandError(f"{source} has port 0; give --admin the address from the log's line `admin API listening`")
    return f"http://{Address(_ANY.get(host, host), port)}", source


def _is_own(url: str, config: Config) -> bool:
    """Whether the address is this machine's, as far as that can be told without asking anybody."""
    host = urlsplit(url).hostname or ""
    if host in {"localhost", parse_address(config.admin.listen).host}:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# The file


def _read(file: Path) -> tuple[Config | None, str]:
    """What the file says of the admin API, and why it says nothing when it does not.

    A file with problems elsewhere must do: who has just broken it wants to know what a reload makes of it.
    """
    try:
        return load(file), ""
    except ConfigError as error:
        trouble = str(error.problems[0])
    try:
        data = tomllib.loads(file.read_text())
        return parse(_essentials(data), os.environ), ""
    except (OSError, ValueError, RecursionError, ConfigError):
        return None, trouble if trouble.startswith("cannot read") else f"{file} has a problem: {trouble}"


def _essentials(data: Mapping[str, object]) -> str:
    """A file in which nothing but what concerns the admin API stands."""
    kept = {key: data[key] for key in ("admin", "state_dir") if key in data}
    fixed = 'listen = "127.0.0.1:0"\npools.default.targets = []\n'
    return fixed + "".join(f"{key} = {_toml(value)}\n" for key, value in kept.items())


def _toml(value: object) -> str:
    """The few kinds of value that stand in these tables, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    # A JSON string is a basic string of TOML; true, false and whole numbers are written alike.
    return json.dumps(value, ensure_ascii=False, default=str)

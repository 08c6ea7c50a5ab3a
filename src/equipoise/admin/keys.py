"""The keys that tokens are made and checked with.

Owns: which file holds one, what makes a file unfit, how the secret is made once, and that a file which changes is read
again.
Refuses to know: what a token says (`auth`).
"""

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from equipoise.config.schema import Config

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey
PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey

HS256: Final = "HS256"
# RFC 7518 3.2: a key of the size of the hash or larger.
SHORTEST_SECRET: Final = 32
# NIST SP 800-131A; RFC 7518 3.3 says the same.
SHORTEST_RSA: Final = 2048
MADE_FILE: Final = "jwt-secret"
# No key is as large; a device that never ends is not read to its end.
_LARGEST_FILE: Final = 64 * 1024

_Stamp = tuple[int, int, int]
"""Time of the last change (ns), inode, size: what tells two contents of a file apart."""


class KeyFileError(Exception):
    """A file that holds no key of the kind that is needed; the text is for the user and holds nothing of the file."""


def secret_path(config: Config) -> Path:
    """Where the secret for HS256 is: the file that is configured, or the one in the state directory."""
    return Path(config.admin.jwt.secret_file or Path(config.state_dir) / MADE_FILE)


def read_secret(path: Path) -> bytes:
    """The secret in a file, without the white space around it.

    Raises:
        KeyFileError: the file cannot be read, or what it holds is no secret or too short for one.
    """
    secret = _content(path, "secret").strip()
    if secret.startswith((b"-----BEGIN", b"ssh-")):
        # Whoever has a public key could make tokens.
        raise KeyFileError(f"{path} holds a key and no secret; HS256 takes a secret, set algorithm for a public key")
    if len(secret) < SHORTEST_SECRET:
        raise KeyFileError(
            f"the secret in {path} has {len(secret)} bytes; at least {SHORTEST_SECRET} are needed, "
            "such as `openssl rand -base64 48` prints"
        )
    return secret


def make_secret(path: Path) -> bool:
    """Make a secret that only this user can read, unless there is a file already; whether one was made.

    Nobody ever sees half a secret, and of two processes that make one at the same time, one wins for both.

    Raises:
        KeyFileError: the file or its directory cannot be made.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            return False
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return False
        finally:
            draft.unlink()
    except OSError as error:
        raise KeyFileError(f"cannot make the secret {path}: {error.strerror or error}") from error
    return True


def read_public_key(path: Path, algorithm: str) -> PublicKey:
    """The public key in a PEM file, of the kind that the algorithm needs.

    Raises:
        KeyFileError: the file cannot be read, or holds something else.
    """
    text = _content(path, "public key")
    if b"PRIVATE KEY-----" in text:
        raise KeyFileError(
            f"{path} holds a private key; the balancer needs the public one, and should not have this one"
        )
    try:
        key = load_pem_public_key(text)
    except Exception as error:  # the library raises what it likes for a file that is no key
        raise KeyFileError(f"{path} holds no public key in PEM") from error
    match algorithm, key:
        case ("RS256", RSAPublicKey(key_size=size)) if size >= SHORTEST_RSA:
            return key
        case ("ES256", EllipticCurvePublicKey(curve=SECP256R1())):
            return key
        case ("EdDSA", Ed25519PublicKey() | Ed448PublicKey()):
            return key
        case _:
            raise _wrong_kind(path, algorithm)


def read_private_key(path: Path, algorithm: str) -> PrivateKey:
    """The private key in a PEM file without a password, of the kind that the algorithm needs.

    Raises:
        KeyFileError: the file cannot be read, or holds something else.
    """
    try:
        key = load_pem_private_key(_content(path, "private key"), None)
    except KeyFileError:
        raise
    except TypeError as error:
        raise KeyFileError(f"{path} is protected by a password; give it without one") from error
    except Exception as error:  # as above
        raise KeyFileError(f"{path} holds no private key in PEM") from error
    match algorithm, key:
        case ("RS256", RSAPrivateKey(key_size=size)) if size >= SHORTEST_RSA:
            return key
        case ("ES256", EllipticCurvePrivateKey(curve=SECP256R1())):
            return key
        case ("EdDSA", Ed25519PrivateKey() | Ed448PrivateKey()):
            return key
        case _:
            raise _wrong_kind(path, algorithm)


class KeyFile:
    """The key in a file, read again when the file changes: so keys rotate without a restart.

    A file that is gone or unfit gives no key at all: what it held before may have been taken back on purpose.
    """

    def __init__(self, path: Path, read: Callable[[Path], bytes | PublicKey]) -> None:
        """Nothing is read yet.

        Args:
            path: the file.
            read: makes a key of it, or raises KeyFileError.
        """
        self.path = path
        self._read = read
        self._stamp: _Stamp | None = None
        self._found: bytes | PublicKey | KeyFileError | None = None

    def key(self) -> bytes | PublicKey:
        """What the file holds now.

        Raises:
            KeyFileError: no key.
        """
        stamp = self._look()
        if self._found is None or stamp != self._stamp:
            # The stamp is from before the reading: what changes meanwhile is seen the next time.
            self._stamp = stamp
            try:
                self._found = self._read(self.path)
            except KeyFileError as error:
                self._found = error
        if isinstance(self._found, KeyFileError):
            raise self._found
        return self._found

    def _look(self) -> _Stamp | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size


def _content(path: Path, what: str) -> bytes:
    try:
        # A pipe would block until somebody writes to it.
        if not stat.S_ISREG(path.stat().st_mode):
            raise KeyFileError(f"cannot read the {what} {path}: it is no regular file")
        with path.open("rb") as file:
            return file.read(_LARGEST_FILE)
    except OSError as error:
        raise KeyFileError(f"cannot read the {what} {path}: {error.strerror or error}") from error


def _wrong_kind(path: Path, algorithm: str) -> KeyFileError:
    wanted = {
        "RS256": f"an RSA key of {SHORTEST_RSA} bits or more",
        "ES256": "a key on the curve P-256",
        "EdDSA": "an Ed25519 or Ed448 key",
    }
    return KeyFileError(f"{path} holds a key of another kind; {algorithm} needs {wanted[algorithm]}")

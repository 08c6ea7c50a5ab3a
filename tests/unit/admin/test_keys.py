import os
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from equipoise.admin.keys import (
    KeyFile,
    KeyFileError,
    PrivateKey,
    make_secret,
    read_private_key,
    read_public_key,
    read_secret,
    secret_path,
)
from tests.unit.admin.parts import admin_config

SECRET = "s" * 32

KEYS: dict[str, PrivateKey] = {
    "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "small rsa": rsa.generate_private_key(public_exponent=65537, key_size=1024),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ed448": ed448.Ed448PrivateKey.generate(),
}
FIT = [("RS256", "rsa"), ("ES256", "p256"), ("EdDSA", "ed25519"), ("EdDSA", "ed448")]
UNFIT = [
    (algorithm, name) for algorithm in ("RS256", "ES256", "EdDSA") for name in KEYS if (algorithm, name) not in FIT
]
PLAIN = NoEncryption()


def public_pem(name: str) -> bytes:
    return KEYS[name].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(name: str, protection: KeySerializationEncryption = PLAIN) -> bytes:
    return KEYS[name].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def written(folder: Path, content: bytes | str) -> Path:
    path = folder / "key"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# The secret


def test_the_secret_is_the_configured_file_or_one_in_the_state_directory(tmp_path: Path) -> None:
    assert secret_path(admin_config(tmp_path)) == tmp_path / "state" / "jwt-secret"
    configured = admin_config(tmp_path, '[admin.jwt]\nsecret_file = "/run/secret"')
    assert secret_path(configured) == Path("/run/secret")


def test_white_space_around_a_secret_is_no_part_of_it(tmp_path: Path) -> None:
    assert read_secret(written(tmp_path, f" {SECRET}\n\n")) == SECRET.encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param("", "has 0 bytes", id="empty"),
        pytest.param("s" * 31, "has 31 bytes; at least 32", id="too short"),
        pytest.param("s" * 31 + "\n" * 9, "has 31 bytes", id="too short without its white space"),
        pytest.param(public_pem("rsa"), "holds a key and no secret", id="a public key"),
        pytest.param("ssh-ed25519 " + "A" * 60, "holds a key and no secret", id="an SSH key"),
    ],
)
def test_what_is_no_secret_is_refused(tmp_path: Path, content: bytes | str, reason: str) -> None:
    with pytest.raises(KeyFileError, match=reason):
        read_secret(written(tmp_path, content))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"cannot read the secret .*nothing: No such file"):
        read_secret(tmp_path / "nothing")


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(KeyFileError, match="no regular file"):
        read_secret(tmp_path / "pipe")


def test_a_made_secret_is_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "jwt-secret"
    assert make_secret(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert len(read_secret(path)) == 64
    assert [entry.name for entry in path.parent.iterdir()] == ["jwt-secret"]


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "jwt-secret"
    make_secret(path)
    first = read_secret(path)
    assert not make_secret(path)
    assert read_secret(path) == first


def test_of_many_that_make_a_secret_at_once_one_wins_for_all(tmp_path: Path) -> None:
    path = tmp_path / "state" / "jwt-secret"
    barrier = threading.Barrier(8)
    seen: list[tuple[bool, bytes]] = []

    def make() -> None:
        barrier.wait()
        seen.append((make_secret(path), read_secret(path)))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(made for made, _ in seen) == 1
    assert len({secret for _, secret in seen}) == 1


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(KeyFileError, match="cannot make the secret"):
        make_secret(tmp_path / "state" / "jwt-secret")


# Key pairs


@pytest.mark.parametrize(("algorithm", "name"), FIT)
def test_keys_of_the_algorithms_kind_are_read(tmp_path: Path, algorithm: str, name: str) -> None:
    public = read_public_key(written(tmp_path, public_pem(name)), algorithm)
    private = read_private_key(written(tmp_path, private_pem(name)), algorithm)
    assert private.public_key() == public == KEYS[name].public_key()


@pytest.mark.parametrize(("algorithm", "name"), UNFIT)
def test_keys_of_another_kind_or_too_weak_are_refused(tmp_path: Path, algorithm: str, name: str) -> None:
    with pytest.raises(KeyFileError, match=f"another kind; {algorithm} needs"):
        read_public_key(written(tmp_path, public_pem(name)), algorithm)
    with pytest.raises(KeyFileError, match=f"another kind; {algorithm} needs"):
        read_private_key(written(tmp_path, private_pem(name)), algorithm)


def test_a_private_key_in_the_place_of_the_public_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="holds a private key"):
        read_public_key(written(tmp_path, private_pem("rsa")), "RS256")


@pytest.mark.parametrize("content", [b"", b"nothing", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(KeyFileError, match="no public key in PEM"):
        read_public_key(written(tmp_path, content), "RS256")
    with pytest.raises(KeyFileError, match="no private key in PEM"):
        read_private_key(written(tmp_path, content), "RS256")


def test_a_private_key_behind_a_password_is_refused(tmp_path: Path) -> None:
    content = private_pem("p256", BestAvailableEncryption(b"password"))
    with pytest.raises(KeyFileError, match="protected by a password"):
        read_private_key(written(tmp_path, content), "ES256")


# Rotation


def replaced(path: Path, content: str) -> None:
    """Another file in its place, as tools that rotate secrets do."""
    (path.parent / "new").write_text(content)
    (path.parent / "new").replace(path)


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = written(tmp_path, SECRET)
    file = KeyFile(path, read_secret)
    assert file.key() == SECRET.encode()
    replaced(path, "t" * 40)
    assert file.key() == b"t" * 40


def test_a_file_that_stays_is_read_once(tmp_path: Path) -> None:
    reads = []

    def read(path: Path) -> bytes:
        reads.append(path)
        return read_secret(path)

    file = KeyFile(written(tmp_path, SECRET), read)
    assert file.key() == file.key()
    assert len(reads) == 1


def test_a_file_that_goes_gives_no_key_until_it_is_back(tmp_path: Path) -> None:
    path = written(tmp_path, SECRET)
    file = KeyFile(path, read_secret)
    file.key()
    path.unlink()
    for _ in range(2):
        with pytest.raises(KeyFileError, match="cannot read the secret"):
            file.key()
    written(tmp_path, SECRET)
    assert file.key() == SECRET.encode()


def test_a_file_that_becomes_unfit_gives_no_key(tmp_path: Path) -> None:
    path = written(tmp_path, SECRET)
    file = KeyFile(path, read_secret)
    file.key()
    replaced(path, "short")
    with pytest.raises(KeyFileError, match="has 5 bytes"):
        file.key()

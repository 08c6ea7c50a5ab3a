"""The files of certificates and keys that a configuration names."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from equipoise.config.load import ConfigError, load, parse
from equipoise.runtime.tls_files import LARGEST_FILE, Material, Reading, read_file, stamp_of
from tests.support.certificates import EXPIRED, FUTURE, Authority, make_key, pem

CA = Authority()
BASE = '[pools.p]\ntargets = ["https://a.example"]\n'
Read = Callable[..., tuple[Material, dict[str, str]]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with good files in it."""
    monkeypatch.chdir(tmp_path)
    CA.write(tmp_path)
    CA.issue("a.example").write(tmp_path, "a")
    CA.issue("b.example", "c.example").write(tmp_path, "b")
    return tmp_path


@pytest.fixture
def read(folder: Path) -> Read:  # noqa: ARG001  its files are what is read
    """Reads the files of a configuration: what they make, and the problems."""

    def examine(text: str) -> tuple[Material, dict[str, str]]:
        reading = Reading()
        try:
            parse(text, {}, reading.examine)
        except ConfigError as error:
            return reading.material, {problem.path: problem.message for problem in error.problems}
        return reading.material, {}

    return examine


def listener(tls: str, pools: str = BASE) -> str:
    return f'[[listeners]]\naddress = "127.0.0.1:443"\n[listeners.tls]\n{tls}\n{pools}'


def pair(name: str) -> str:
    return f'certificate_file = "{name}.pem"\nkey_file = "{name}.key"\n'


def pairs(*names: str) -> str:
    return "".join(f"[[listeners.tls.certificates]]\n{pair(name)}" for name in names)


def pool(tls: str, url: str = "https://a.example") -> str:
    return f'listen = "a:1"\n[pools.p]\ntargets = ["{url}"]\n[pools.p.tls]\n{tls}\n'


def test_a_configuration_without_tls_reads_nothing(read: Read) -> None:
    material, found = read('listen = ["a:1", "a:2"]\n[pools.p]\ntargets = []')
    assert (found, material.files, material.listeners, material.stamps) == ({}, (), (None, None), {})


def test_listeners_are_in_the_order_of_their_addresses(read: Read) -> None:
    material, found = read('listen = "a:1"\n[[listeners]]\naddress = "a:2"\n' + listener(pair("a")))
    assert found == {}
    assert [spec is not None for spec in material.listeners] == [False, False, True]


def test_a_file_is_in_the_material_once(read: Read) -> None:
    material, _ = read(
        listener(
            pair("a") + 'client_ca_file = "ca.pem"\nclient_certificates = "required"',
            pool('ca_file = "ca.pem"').partition("\n")[2],
        )
    )
    assert sorted(file.content for file in material.files) == sorted(
        Path(name).read_bytes() for name in ("a.pem", "a.key", "ca.pem")
    )
    assert sorted(material.stamps) == ["a.key", "a.pem", "ca.pem"]


def test_each_certificate_comes_with_its_names(read: Read) -> None:
    material, _ = read(listener(pairs("a", "b")))
    [spec] = material.listeners
    assert spec is not None
    assert [certificate.names for certificate in spec.certificates] == [("a.example",), ("b.example", "c.example")]


def test_what_a_pool_says_of_tls_is_for_its_targets(read: Read) -> None:
    material, found = read(pool('ca_file = "ca.pem"\nserver_name = "x"\nmin_version = "1.3"\n' + pair("a")))
    spec = material.pools["p"]
    contents = {file.digest: file.content for file in material.files}
    assert found == {}
    assert (spec.server_name, spec.verify, spec.min_version) == ("x", True, "1.3")
    assert [contents[digest] for digest in (spec.ca, spec.certificate, spec.key)] == [
        Path(name).read_bytes() for name in ("ca.pem", "a.pem", "a.key")
    ]


# What is wrong


@pytest.mark.parametrize("missing", ["a.pem", "a.key"])
def test_a_file_that_is_not_there_is_named_with_its_place(read: Read, folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    key = "certificate_file" if missing == "a.pem" else "key_file"
    assert read(listener(pair("a")))[1] == {
        f"listeners[0].tls.{key}": f"cannot read {missing}: No such file or directory"
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(read: Read, folder: Path) -> None:
    (folder / "a.key").chmod(0)
    assert read(listener(pair("a")))[1] == {"listeners[0].tls.key_file": "cannot read a.key: Permission denied"}


def test_a_directory_is_no_file(read: Read, folder: Path) -> None:
    (folder / "a.key").unlink()
    (folder / "a.key").mkdir()
    assert read(listener(pair("a")))[1] == {"listeners[0].tls.key_file": "cannot read a.key: Is a directory"}


def test_a_file_that_is_far_too_large_is_not_read(read: Read, folder: Path) -> None:
    with (folder / "a.pem").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    assert "too large" in read(listener(pair("a")))[1]["listeners[0].tls.certificate_file"]


def test_a_key_of_another_certificate_is_told_so(read: Read, folder: Path) -> None:
    (folder / "a.key").write_bytes(pem(make_key()))
    assert read(listener(pair("a")))[1] == {
        "listeners[0].tls.key_file": "a.key holds a key that does not belong to the certificate"
    }


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(read: Read, folder: Path) -> None:
    (folder / "a.key").write_bytes(pem(make_key(), "secret"))
    assert "a key with a passphrase" in read(listener(pair("a")))[1]["listeners[0].tls.key_file"]


def test_certificate_and_key_the_wrong_way_round_are_both_told(read: Read) -> None:
    found = read(listener('certificate_file = "a.key"\nkey_file = "a.pem"'))[1]
    assert found["listeners[0].tls.certificate_file"].startswith("a.key holds no certificate")


def test_a_weak_key_is_refused_in_the_words_of_openssl(read: Read, folder: Path) -> None:
    CA.issue("a.example", kind="rsa-1024").write(folder, "a")
    assert read(listener(pair("a")))[1] == {"listeners[0].tls": "is refused by OpenSSL: ee key too small"}


def test_several_problems_are_reported_at_once_with_their_lines(folder: Path) -> None:
    (folder / "b.pem").unlink()
    (folder / "a.key").write_bytes(b"nothing")
    text = listener(pairs("a", "b"), pool('ca_file = "none.pem"').partition("\n")[2])
    (folder / "equipoise.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(folder / "equipoise.toml", {}, Reading().examine)
    assert [str(problem) for problem in caught.value.problems] == [
        "listeners[0].tls.certificates[0].key_file (line 6): a.key holds no private key in PEM",
        "listeners[0].tls.certificates[1].certificate_file (line 8): cannot read b.pem: No such file or directory",
        "pools.p.tls.ca_file (line 14): cannot read none.pem: No such file or directory",
    ]


def test_a_file_that_cannot_be_read_is_a_problem_at_each_place(read: Read, folder: Path) -> None:
    (folder / "a.pem").unlink()
    found = read(listener(pair("a"), pool('ca_file = "a.pem"').partition("\n")[2]))[1]
    assert sorted(found) == ["listeners[0].tls.certificate_file", "pools.p.tls.ca_file"]


@pytest.mark.parametrize("names", [("a.example",), ()])
def test_a_certificate_that_no_client_can_ask_for_is_a_problem(
    read: Read, folder: Path, names: tuple[str, ...]
) -> None:
    CA.issue(*names).write(folder, "b")
    found = read(listener(pairs("a", "b")))[1]
    assert list(found) == ["listeners[0].tls.certificates[1]"]
    assert found["listeners[0].tls.certificates[1]"].startswith("is never chosen")


def test_the_same_names_with_another_kind_of_key_are_a_choice(read: Read, folder: Path) -> None:
    CA.issue("a.example", kind="rsa").write(folder, "b")
    assert read(listener(pairs("a", "b")))[1] == {}


# What is odd


def warnings(material: Material) -> list[tuple[str, str]]:
    return [(problem.path, problem.message) for problem in material.warnings]


@pytest.mark.parametrize(("days", "words"), [(EXPIRED, "expired on"), (FUTURE, "is not valid before")])
def test_a_certificate_out_of_its_time_is_a_warning(
    read: Read, folder: Path, days: tuple[int, int], words: str
) -> None:
    CA.issue("a.example", days=days).write(folder, "a")
    material, found = read(listener(pair("a")))
    [(place, message)] = warnings(material)
    assert (found, place) == ({}, "listeners[0].tls.certificate_file")
    assert message.startswith(f'the certificate "CN=a.example" {words}')


def test_an_authority_out_of_its_time_is_a_warning(read: Read, folder: Path) -> None:
    Authority("Old CA", EXPIRED).write(folder)
    material, found = read(pool('ca_file = "ca.pem"'))
    assert found == {}
    assert [place for place, _ in warnings(material)] == ["pools.p.tls.ca_file"]


def test_a_certificate_for_nobody_is_a_warning(read: Read, folder: Path) -> None:
    CA.issue(common_name="a.example").write(folder, "a")
    material, found = read(listener(pair("a")))
    assert found == {}
    assert warnings(material) == [
        ("listeners[0].tls.certificate_file", "a.pem names no host (subjectAltName): clients of today refuse it")
    ]


def test_a_certificate_for_targets_may_be_for_nobody(read: Read, folder: Path) -> None:
    CA.issue(common_name="balancer").write(folder, "a")
    material, found = read(pool(pair("a")))
    assert (found, warnings(material)) == ({}, [])


@pytest.mark.parametrize(("url", "warned"), [("https://a", True), ("http://a", False), ("h2c://a", False)])
def test_targets_that_are_not_verified_are_a_warning(read: Read, url: str, warned: bool) -> None:
    material, _ = read(pool("verify = false", url))
    assert [place for place, _ in warnings(material)] == ["pools.p.tls.verify"] * warned


# Stamps


def test_a_file_that_changes_has_another_stamp(folder: Path) -> None:
    before, content = read_file("a.pem")
    assert (stamp_of("a.pem"), content) == (before, Path("a.pem").read_bytes())
    (folder / "new").write_bytes(content)
    (folder / "new").rename("a.pem")
    assert stamp_of("a.pem") != before


def test_a_link_that_leads_elsewhere_has_another_stamp(folder: Path) -> None:
    (folder / "link").symlink_to("a.pem")
    before = stamp_of("link")
    (folder / "link").unlink()
    (folder / "link").symlink_to("b.pem")
    assert stamp_of("link") != before


def test_a_file_that_is_gone_has_none() -> None:
    assert stamp_of("gone.pem") is None

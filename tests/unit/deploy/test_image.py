"""The Dockerfile and what goes to the builder with it."""

import fnmatch
import re
import tomllib
from pathlib import Path

import pytest

from tests.support.shipping import ROOT, run_tool, usage_error

DOCKERFILE = ROOT / "Dockerfile"


def instructions() -> list[str]:
    """One a line, without comments."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    return [" ".join(line.split()) for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]


def of(kind: str, lines: list[str]) -> list[str]:
    return [line.partition(" ")[2] for line in lines if line.startswith(f"{kind} ")]


def stages() -> dict[str, list[str]]:
    """The instructions of each stage."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in instructions():
        if line.startswith("FROM "):
            name = line.split(" AS ")[1]
            found[name] = []
        found.setdefault(name, []).append(line)
    return found


def whole(stage: str) -> list[str]:
    """The instructions of a stage and of those that it stands on."""
    lines = stages()[stage]
    before = lines[0].split()[1]
    return (whole(before) if before in stages() else []) + lines


def is_sent(path: str) -> bool:
    """Whether a file reaches the builder, by the rules of .dockerignore: the last one that matches decides."""
    sent = True
    for rule in (ROOT / ".dockerignore").read_text().splitlines():
        if not rule or rule.startswith("#"):
            continue
        kept = rule.startswith("!")
        pattern = rule.removeprefix("!").removeprefix("**/")
        places = ["/".join(path.split("/")[start:end]) for start in range(9) for end in range(start + 1, 9)]
        anywhere = "**/" in rule
        if any(fnmatch.fnmatch(place, pattern) for place in places if anywhere or path.startswith(place)):
            sent = kept
    return sent


def test_hadolint_finds_nothing() -> None:
    found = run_tool("hadolint", "--config", str(ROOT / ".hadolint.yaml"), str(DOCKERFILE))
    assert (found.returncode, found.stdout) == (0, "")


def test_what_is_copied_is_there_and_sent() -> None:
    sources = [word for line in of("COPY", instructions()) if "--from" not in line for word in line.split()[:-1]]
    assert "requirements/runtime.lock" in sources
    assert [source for source in sources if not (ROOT / source).exists() or not is_sent(source)] == []


@pytest.mark.parametrize(
    "path", [".git/config", ".venv/bin/python", ".env", "tests/conftest.py", "src/equipoise/a.so", "equipoise.toml"]
)
def test_what_is_not_built_from_is_not_sent(path: str) -> None:
    assert not is_sent(path)


def test_the_dependencies_come_from_the_lock_alone() -> None:
    """So that their layer is built anew when the lock changes, and only then."""
    lines = stages()["dependencies"]
    assert of("COPY", lines) == ["requirements/runtime.lock /build/"]
    (install,) = [line for line in of("RUN", lines) if " install " in line]
    assert "--require-hashes" in install
    assert "--only-binary :all:" in install


def test_the_image_is_what_is_built_unless_told_otherwise() -> None:
    assert list(stages())[-1] == "runtime"


def test_no_compiler_and_no_installer_reach_the_image() -> None:
    for stage in ("runtime", "demo"):
        lines = whole(stage)
        assert not any("apt-get" in line or "pip" in line for line in of("RUN", lines))
        assert {line.split()[1] for line in of("COPY", lines)} == {"/opt/equipoise"}


def test_it_runs_as_a_user_who_is_a_number_and_not_root() -> None:
    (user,) = of("USER", whole("runtime"))
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_it_is_stopped_by_the_signal_that_drains() -> None:
    assert of("STOPSIGNAL", whole("runtime")) == ["SIGTERM"]
    # No shell between: it would keep the signal to itself.
    assert of("ENTRYPOINT", whole("runtime")) == ['["equipoise"]']


def test_the_commands_in_it_are_there() -> None:
    lines = whole("runtime")
    (check,) = of("HEALTHCHECK", lines)
    for words in (of("CMD", lines)[-1], check.partition("CMD ")[2]):
        given = [word for word in re.findall(r'"([^"]+)"', words) if word != "equipoise"]
        assert usage_error(given) is None


def test_the_place_of_its_state_may_be_written_to() -> None:
    lines = whole("runtime")
    (folder,) = of("VOLUME", lines)
    assert any(f"STATE_DIRECTORY={folder}" in line for line in of("ENV", lines))
    assert any(re.search(rf"install -d -o equipoise .* {folder}$", line) for line in of("RUN", lines))


def test_the_python_is_an_argument_of_every_stage_that_has_one() -> None:
    images = [line.split()[0] for line in of("FROM", instructions())]
    pythons = [image for image in images if image.startswith("python:")]
    assert len(pythons) > 2
    assert {image for image in pythons if "${PYTHON_VERSION}" not in image} == set()


def test_no_image_names_a_registry() -> None:
    images = [line.split()[0] for line in of("FROM", instructions())]
    assert [image for image in images if "." in image.partition("/")[0] and "/" in image] == []


def locked(name: str) -> set[tuple[str, str]]:
    """The packages of a lock file with their versions; a package may have one for each Python."""
    text = (ROOT / "requirements" / name).read_text()
    return set(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE | re.IGNORECASE))


@pytest.mark.parametrize("name", ["runtime.lock", "build.lock", "demo.lock"])
def test_its_locks_agree_with_the_one_that_the_tests_run_on(name: str) -> None:
    assert sorted(locked(name) - locked("dev.lock")) == []


def test_the_builders_lock_has_all_that_a_build_requires() -> None:
    project = tomllib.loads(Path(ROOT / "pyproject.toml").read_text())
    required = {re.split(r"[<>=]", each)[0] for each in project["build-system"]["requires"]}
    assert required - {package for package, _ in locked("build.lock")} == set()


def test_every_locked_version_has_its_hashes() -> None:
    for name in ("runtime.lock", "build.lock", "demo.lock"):
        text = (ROOT / "requirements" / name).read_text()
        assert len(re.findall(r"== ?\S+.*\\\n\s+--hash=sha256:", text)) == len(locked(name)) > 5

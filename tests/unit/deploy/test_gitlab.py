"""The pipeline: GitLab's schema, its rules for each kind of push, and its image job with a Docker that writes down."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_docker import FakeDocker
from tests.support.shipping import ROOT, run_tool

PIPELINE = ROOT / ".gitlab-ci.yml"
IMAGE = "container image"
CHECKS = {"static analysis", "tests"}

PUSH = {"CI_PIPELINE_SOURCE": "push"}
RELEASE = PUSH | {"CI_COMMIT_BRANCH": "release"}
MAIN = PUSH | {"CI_COMMIT_BRANCH": "main"}
FEATURE = PUSH | {"CI_COMMIT_BRANCH": "feature/x"}
TAG = PUSH | {"CI_COMMIT_TAG": "v1.2"}
MERGE_REQUEST = {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_MERGE_REQUEST_IID": "1"}


def pipeline() -> Any:
    """The file, with each job's `extends` followed one step, as ours are."""
    # GitLab's own tags have no meaning to YAML; ours has none of them.
    import importlib  # noqa: PLC0415 -- it has no types

    document = importlib.import_module("yaml").safe_load(PIPELINE.read_text())
    for name, job in document.items():
        if isinstance(job, dict) and "extends" in job:
            document[name] = document[job["extends"]] | job
    return document


def jobs() -> dict[str, Any]:
    return {name: job for name, job in pipeline().items() if isinstance(job, dict) and "script" in job}


def true(condition: str, variables: Mapping[str, str]) -> bool:
    """What GitLab makes of an `if` without brackets: && binds closer than ||."""
    return any(all(_holds(part.strip(), variables) for part in either.split("&&")) for either in condition.split("||"))


def _holds(part: str, variables: Mapping[str, str]) -> bool:
    sides = [side.strip() for side in re.split(r"==|!=", part)]
    values = [variables.get(side[1:]) if side.startswith("$") else side.strip("\"'") for side in sides]
    if len(values) == 1:
        return bool(values[0])
    return (values[0] == values[1]) == ("==" in part)


def first(rules: list[dict[str, Any]], pushed: Mapping[str, str]) -> dict[str, Any] | None:
    """The first rule that holds; None when none does, or the one that does says never."""
    variables = pipeline()["variables"] | pushed
    for rule in rules:
        if "if" not in rule or true(rule["if"], variables):
            return None if rule.get("when") == "never" else rule
    return None


def when(job: str, pushed: Mapping[str, str]) -> str | None:
    """How a job is started in the pipeline of a push; None when it is not in it."""
    if first(pipeline()["workflow"]["rules"], pushed) is None:
        return None
    rule = first(jobs()[job].get("rules", [{}]), pushed)
    return None if rule is None else str(rule.get("when", "on_success"))


def test_the_schema_is_kept() -> None:
    words = ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", str(PIPELINE)]
    found = run_tool("check-jsonschema", *words)
    assert found.returncode == 0, found.stdout


def test_there_are_analysis_tests_and_image() -> None:
    assert jobs().keys() == CHECKS | {IMAGE}


@pytest.mark.parametrize("pushed", [RELEASE, MAIN, FEATURE, TAG, MERGE_REQUEST])
def test_every_push_is_analysed_and_tested(pushed: Mapping[str, str]) -> None:
    assert {when(job, pushed) for job in CHECKS} == {"on_success"}


def test_the_image_is_built_by_itself_on_the_release_branch() -> None:
    assert when(IMAGE, RELEASE) == "on_success"


@pytest.mark.parametrize("pushed", [MAIN, FEATURE, TAG, MERGE_REQUEST])
def test_the_image_waits_for_somebody_elsewhere(pushed: Mapping[str, str]) -> None:
    assert when(IMAGE, pushed) == "manual"


@pytest.mark.parametrize("pushed", [MAIN, FEATURE, TAG, MERGE_REQUEST])
def test_a_pipeline_does_not_wait_for_that(pushed: Mapping[str, str]) -> None:
    rule = first(jobs()[IMAGE]["rules"], pushed)
    assert rule is not None
    assert rule["allow_failure"] is True


def test_on_the_release_branch_an_image_that_fails_fails_the_pipeline() -> None:
    rule = first(jobs()[IMAGE]["rules"], RELEASE)
    assert rule is not None
    assert "allow_failure" not in rule


def test_the_release_branch_is_a_setting_of_the_project() -> None:
    renamed = {"RELEASE_BRANCH": "production"}
    assert when(IMAGE, RELEASE | renamed) == "manual"
    assert when(IMAGE, PUSH | {"CI_COMMIT_BRANCH": "production"} | renamed) == "on_success"


def test_the_image_needs_both() -> None:
    assert set(jobs()[IMAGE]["needs"]) == CHECKS


def test_a_branch_with_a_merge_request_has_one_pipeline() -> None:
    both = FEATURE | {"CI_OPEN_MERGE_REQUESTS": "group/project!1"}
    assert when("tests", both) is None
    assert when("tests", MERGE_REQUEST | {"CI_OPEN_MERGE_REQUESTS": "group/project!1"}) == "on_success"


def test_every_step_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for job in jobs().values():
        text = "\n".join([*job.get("before_script", []), *job["script"]])
        for target in re.findall(r"make ([a-z-]+)(?=[ ;]|$)", text.replace("make gcc", "")):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
        for script in re.findall(r"(\.ci/\S+)", text):
            assert os.access(ROOT / script, os.X_OK), script


def test_the_tests_run_in_both_modes() -> None:
    (matrix,) = jobs()["tests"]["parallel"]["matrix"]
    assert matrix["MODE"] == ["interpreted", "compiled"]
    assert any('make "test-$MODE"' in line for line in jobs()["tests"]["script"])


def test_reports_are_kept_of_failures_too() -> None:
    artifacts = jobs()["tests"]["artifacts"]
    assert artifacts["when"] == "always"
    assert artifacts["reports"].keys() == {"junit", "coverage_report"}


def test_the_coverage_is_found_in_what_the_tool_prints() -> None:
    pattern = jobs()["tests"]["coverage"].strip("/")
    printed = "src/equipoise/model.py   80   3   12   1   95%\nTOTAL        9412    211    2508    102    96.4%\n"
    match = re.search(pattern, printed, re.MULTILINE)
    assert match is not None
    assert match[1] == "96.4"


def test_caches_lie_below_the_projects_folder() -> None:
    for job in jobs().values():
        caches = job.get("cache", [])
        paths = [path for cache in caches for path in cache["paths"]]
        assert [path for path in paths if path.startswith(("/", "~", ".."))] == []


def test_no_registry_is_named_but_through_the_projects_variables() -> None:
    text = PIPELINE.read_text() + (ROOT / ".ci/image").read_text()
    assert re.findall(r"\b[\w-]+(?:\.[\w-]+)*\.(?:com|io|org|net|dev)\b", text) == []


# The image job


GIVEN = {
    "CI_REGISTRY": "registry.test:5050",
    "CI_REGISTRY_IMAGE": "registry.test:5050/group/project",
    "CI_REGISTRY_USER": "gitlab-ci-token",
    "CI_REGISTRY_PASSWORD": "s3cret",
    "CI_COMMIT_SHA": "abc123",
    "CI_COMMIT_REF_SLUG": "feature-x",
    "CI_COMMIT_BRANCH": "feature/x",
    "RELEASE_BRANCH": "release",
}
ON_RELEASE = GIVEN | {"CI_COMMIT_REF_SLUG": "release", "CI_COMMIT_BRANCH": "release"}


@pytest.fixture
def docker(tmp_path: Path) -> FakeDocker:
    return FakeDocker(tmp_path)


def build(docker: FakeDocker, variables: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    return docker.run(["sh", str(ROOT / ".ci/image")], variables)


def tags(docker: FakeDocker) -> list[str]:
    """What the built image is called, without the place."""
    (words,) = docker.calls("buildx build")
    found = [words[number + 1] for number, word in enumerate(words) if word == "--tag"]
    return [tag.removeprefix(f"{GIVEN['CI_REGISTRY_IMAGE']}:") for tag in found]


def test_a_branchs_image_is_called_by_commit_and_branch(docker: FakeDocker) -> None:
    assert build(docker, GIVEN).returncode == 0
    assert tags(docker) == ["abc123", "feature-x"]


def test_the_release_branchs_image_is_the_latest_too(docker: FakeDocker) -> None:
    build(docker, ON_RELEASE)
    assert tags(docker) == ["abc123", "release", "latest"]


def test_a_tag_called_as_the_release_branch_is_not_the_latest(docker: FakeDocker) -> None:
    build(docker, {**GIVEN, "CI_COMMIT_BRANCH": "", "CI_COMMIT_TAG": "release", "CI_COMMIT_REF_SLUG": "release"})
    assert tags(docker) == ["abc123", "release"]


def test_it_is_pushed_as_it_is_built(docker: FakeDocker) -> None:
    build(docker, GIVEN)
    assert "--push" in docker.calls("buildx build")[0]


def test_the_password_is_no_argument_of_any_process(docker: FakeDocker) -> None:
    build(docker, GIVEN)
    assert docker.input_of("login") == "s3cret"
    assert not any("s3cret" in word for call in docker.calls() for word in call)


def test_it_logs_out_whatever_happened(docker: FakeDocker) -> None:
    docker.fails("buildx build")
    assert build(docker, GIVEN).returncode != 0
    assert docker.calls("logout") == [["logout", "registry.test:5050"]]


@pytest.mark.parametrize("name", ["CI_REGISTRY_IMAGE", "CI_REGISTRY_PASSWORD"])
def test_a_project_without_a_registry_is_told_so(docker: FakeDocker, name: str) -> None:
    done = build(docker, {key: value for key, value in GIVEN.items() if key != name})
    assert done.returncode == 1
    assert f"{name} is not set" in done.stderr
    assert docker.calls() == []

"""The audit of the dependencies: what it makes of what pip-audit and npm say, with programs that say what a test tells.

The real ones ask a service in the internet, which a test must not need; the words here are theirs.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.shipping import ROOT

NPM_IS_WELL: dict[str, Any] = {
    "auditReportVersion": 2,
    "vulnerabilities": {},
    "metadata": {"dependencies": {"prod": 4, "total": 3}},
}
NPM_KNOWS: dict[str, Any] = NPM_IS_WELL | {
    "vulnerabilities": {
        "preact": {
            "name": "preact",
            "range": "<11.2.1",
            "via": [{"title": "JSON VNode injection", "url": "https://advisories.test/GHSA-36hm-qxxp-pg3m"}],
            "fixAvailable": True,
        }
    }
}
NPM_IS_REFUSED: dict[str, Any] = {"message": "405 Method Not Allowed", "statusCode": 405, "error": {"summary": ""}}
CLEAN = {"name": "uvloop", "version": "0.23.0", "vulns": []}
HURT = {
    "name": "h2",
    "version": "4.2.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["4.3.0"], "aliases": ["CVE-2025-57804"], "description": "..."}],
}
SKIPPED = {"name": "uvicorn", "skip_reason": "Dependency not found and could not be audited: uvicorn (0.54.0)"}


class Asked:
    """The two programs in a folder of their own, each of which prints its words and writes down its arguments."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tells("pip-audit", json.dumps({"dependencies": [CLEAN], "fixes": []}))
        self.tells("npm", json.dumps(NPM_IS_WELL))

    def tells(self, name: str, out: str, *, error: str = "", code: int = 0) -> None:
        program = self.folder / name
        # Its own arguments, not those of another: `$0` is a path.
        program.write_text(f"#!/bin/sh\necho \"$@\" >$0.asked\ncat <<'.'\n{out}\n.\necho '{error}' >&2\nexit {code}\n")
        program.chmod(0o755)

    def python(self, *packages: Any, code: int = 0) -> None:
        self.tells("pip-audit", json.dumps({"dependencies": packages, "fixes": []}), code=code)

    def words(self, name: str) -> list[str]:
        return (self.folder / f"{name}.asked").read_text().split()

    def audit(self, **variables: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, str(ROOT / ".ci" / "audit.py")],
            env={"PATH": f"{self.folder}{os.pathsep}/usr/bin{os.pathsep}/bin", **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        return done.returncode, done.stdout


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


def test_nothing_known_is_well(asked: Asked) -> None:
    assert asked.audit(EQUIPOISE_REQUIRE_AUDIT="1") == (
        0,
        "Python: 1 packages looked up, 0 advisories\ndashboard: 3 packages looked up, 0 advisories\n",
    )


def test_every_lock_is_asked_about_as_it_is(asked: Asked) -> None:
    asked.audit()
    words = asked.words("pip-audit")
    locks = {Path(words[at + 1]).name for at, word in enumerate(words) if word == "--requirement"}
    assert locks == {path.name for path in (ROOT / "requirements").glob("*.lock")}
    assert {"--disable-pip", "--require-hashes"} <= set(words)
    assert asked.words("npm") == ["audit", "--json", "--package-lock-only"]


def test_an_advisory_of_pythons_is_a_failure_and_is_named(asked: Asked) -> None:
    asked.python(CLEAN, HURT, code=1)
    status, said = asked.audit()
    assert status == 1
    assert "Python: 2 packages looked up, 1 advisories\n  h2 4.2.0: PYSEC-1, CVE-2025-57804; fixed in 4.3.0\n" in said


def test_an_advisory_of_the_dashboards_is_a_failure_and_is_named(asked: Asked) -> None:
    asked.tells("npm", json.dumps(NPM_KNOWS), code=1)
    status, said = asked.audit()
    assert status == 1
    assert "  preact <11.2.1: GHSA-36hm-qxxp-pg3m; a fix is available\n" in said


@pytest.mark.parametrize(("variables", "status"), [({}, 0), ({"EQUIPOISE_REQUIRE_AUDIT": "1"}, 2)])
def test_what_the_source_does_not_know_is_not_audited(asked: Asked, variables: dict[str, str], status: int) -> None:
    """pip-audit itself leaves it out, says that nothing is known, and exits with 0."""
    asked.python(CLEAN, SKIPPED)
    found, said = asked.audit(**variables)
    assert found == status
    assert f"Python: NOT AUDITED: 1 of 2 packages, the first: {SKIPPED['skip_reason']}\n" in said


@pytest.mark.parametrize(("variables", "status"), [({}, 0), ({"EQUIPOISE_REQUIRE_AUDIT": "1"}, 2)])
def test_a_service_out_of_reach_is_said(asked: Asked, variables: dict[str, str], status: int) -> None:
    asked.tells("pip-audit", "", error="ConnectionError: Failed to resolve", code=1)
    asked.tells("npm", json.dumps(NPM_IS_REFUSED), code=1)
    found, said = asked.audit(**variables)
    assert found == status
    assert "Python: NOT AUDITED: pip-audit: ConnectionError: Failed to resolve\n" in said
    assert "dashboard: NOT AUDITED: 405 Method Not Allowed\n" in said


def test_an_advisory_counts_more_than_silence_elsewhere(asked: Asked) -> None:
    asked.python(HURT, code=1)
    asked.tells("npm", "", code=1)
    assert asked.audit(EQUIPOISE_REQUIRE_AUDIT="1")[0] == 1


def test_a_program_that_is_not_there_is_said(asked: Asked) -> None:
    (asked.folder / "pip-audit").unlink()
    status, said = asked.audit()
    assert status == 0
    assert "Python: NOT AUDITED: pip-audit is not installed\n" in said


def test_the_pipeline_asks_and_takes_silence_for_a_failure() -> None:
    job = re.search(r"^static analysis:\n(.*?)^\S", (ROOT / ".gitlab-ci.yml").read_text(), re.MULTILINE | re.DOTALL)
    assert job is not None
    assert "make audit || status=1" in job[1]
    assert 'EQUIPOISE_REQUIRE_AUDIT: "1"' in job[1]

"""The OpenAPI document and the pages made from it, against a real balancer."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.admin.conftest import Administer
from tests.scenarios.support.admin import Admin
from tests.scenarios.support.balancer import environment
from tests.scenarios.support.stage import Stage

# The house's budget is a minute; a machine that is busy with other things may take longer.
LONGEST = 150
# A version that is not the one in force, a name that is taken, a URL that only looks like one: the schema cannot know.
# And a version that is not the one in force may be told before anything that is wrong beside it.
SETTINGS = """\
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 404, 409, 412, 422]
[checks.negative_data_rejection]
expected-statuses = [404, 405, 412, 415, 422]
"""


@pytest.mark.timeout(LONGEST + 30)
def test_the_api_is_as_its_document_says_whatever_is_sent(stage: Stage, administer: Administer, tmp_path: Path) -> None:
    """Schemathesis sends what the document allows and what it does not: no 5xx, and no answer that is not in it."""
    admin = administer([stage.target(), stage.target()])
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{admin.balancer.admin}/openapi.json"]
    command += ["--header", f"Authorization: Bearer {admin.token()}", "--checks", "all"]
    # The stream has no end; it has scenarios of its own.
    command += ["--exclude-path", "/v1/events", "--request-timeout", "20", "--continue-on-failure"]
    # New processes for each of many calls; faults/test_zero_downtime.py has them.
    command += ["--exclude-path", "/v1/upgrade", "--exclude-path", "/v1/workers/replace"]
    command += ["--generation-deterministic", "--max-examples", "20", "--no-color"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, timeout=LONGEST
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Tested: +19\b", done.stdout), done.stdout
    assert admin.balancer.find("a call of the admin API broke") == []
    assert len(admin.balancer.workers) == 2


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_pages_and_all_that_they_load_come_from_the_balancer(shared_admin: Admin, path: str) -> None:
    page = shared_admin.send("GET", path, {})
    assert page.status == 200
    for source in re.findall(r'(?:src|href)="([^"]+)"', page.body.decode()):
        assert shared_admin.send("GET", source, {}).status == 200
    # What a script could load later, the browser refuses to.
    assert page.fields["content-security-policy"].startswith("default-src 'self';")

"""What the tests of the admin API share.

Owns: the fixtures.
Refuses to know: any test.
"""

from pathlib import Path

import pytest

from tests.unit.admin.parts import Api


@pytest.fixture
def api(tmp_path: Path) -> Api:
    """The admin API with default settings, over a board with the pool `default`."""
    return Api(tmp_path)

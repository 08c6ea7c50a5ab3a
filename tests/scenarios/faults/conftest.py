"""The faults share the admin API's fixture.

Owns: nothing of its own.
Refuses to know: any scenario.
"""

from tests.scenarios.admin.conftest import administer

__all__ = ["administer"]

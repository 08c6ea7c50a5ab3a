"""Adds up JUnit reports into the one line that closes a check: `N passed, N failed, N skipped`.

Owns: the sum over both modes.
Refuses to know: what the tests were.
"""

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET


def main() -> int:
    """Print the sum; 1 when a test failed or none ran."""
    total: Counter[str] = Counter()
    for report in sorted(Path(sys.argv[1]).glob("*.xml")):
        for suite in ET.parse(report).iter("testsuite"):  # noqa: S314  (written by our own pytest a moment ago)
            total.update({key: int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")})
    failed = total["failures"] + total["errors"]
    passed = total["tests"] - failed - total["skipped"]
    print(f"{passed} passed, {failed} failed, {total['skipped']} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())

"""The process that atheris runs one target in: `python -m fuzz.guided TARGET FINDING LIBFUZZER-OPTIONS...`.

Owns: the start, and the file FINDING, which says what was found: the traceback and the input as Python writes it.
Refuses to know: which inputs, how many, for how long; `fuzz.engine` starts it.
"""

import sys
import traceback
from pathlib import Path

import atheris  # type: ignore[import-untyped]  # it has no annotations

from fuzz.engine import check_in_time


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    name, finding = sys.argv.pop(1), Path(sys.argv.pop(1))
    # Only what is under test: the coverage of an oracle would lead astray.
    with atheris.instrument_imports(include=["equipoise"]):
        from fuzz.targets import TARGETS  # noqa: PLC0415  (imports are what is instrumented)
    check = TARGETS[name].check

    def keep_finding(data: bytes) -> None:
        try:
            check_in_time(check, data)
        except Exception:
            finding.write_text(f"{traceback.format_exc()}target {name}, input {data!r}\n")
            raise

    atheris.Setup(sys.argv, keep_finding)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Each module has its unit test, and each unit test its module.

Owns: the correspondence of tests/unit with src, and the modules that have a reason to be without.
Refuses to know: what the tests say.
"""

from compiled_modules import PACKAGE, SOURCE
from tests.architecture.tree import ROOT, modules
from tests.conftest import FIRST, TESTS

UNIT = ROOT / "tests" / "unit"

# Module -> why no unit test of its own, and what tests it instead.
WITHOUT_UNIT_TEST: dict[str, str] = {
    "__main__.py": "one line; the scenarios start everything through it",
    "proxy/attempts.py": "a base class of the exchange, which test_exchange and test_pairs drive",
    "runtime/probe_error.py": "two exceptions without logic; test_health_checks meets both",
}

# Unit test -> what it tests, when that is no module of src.
WITHOUT_MODULE: dict[str, str] = {
    "benchmarks/test_main.py": "benchmarks/__main__.py, which pytest cannot collect under its own name",
    "deploy/test_deploy.py": "the dashboard and the alerts in deploy/, which ask for metrics",
    "deploy/test_audit.py": ".ci/audit.py",
    "deploy/test_compose.py": "compose.yaml, compose.prod.yaml and the configurations in deploy/compose",
    "deploy/test_deploy_script.py": "deploy.sh",
    "deploy/test_empty_debian.py": ".ci/empty-debian",
    "deploy/test_gitlab.py": ".gitlab-ci.yml and .ci/image",
    "deploy/test_image.py": "Dockerfile, .dockerignore and the locks that they use",
    "deploy/test_kubernetes.py": "the manifests in deploy/kubernetes",
    "deploy/test_systemd.py": "the unit in deploy/systemd",
    "docs/test_docs.py": "the links, configurations and commands that the documentation shows",
    "proxy/test_pairs.py": "the four pairs of protocols, through the whole data path",
    "test_build.py": "setup.py, compiled_modules.py and the installation they make",
}


def sources() -> set[str]:
    return {str(m.path.relative_to(SOURCE / PACKAGE)) for m in modules() if not m.is_package}


def benchmarks() -> set[str]:
    """Their logic is tested in tests/unit/benchmarks; what only starts and measures is tested by running it."""
    return {str(path.relative_to(ROOT)) for path in (ROOT / "benchmarks").rglob("*.py")}


def unit_test_of(source: str) -> str:
    folder, _, name = source.rpartition("/")
    return f"{folder}/test_{name}" if folder else f"test_{name}"


def unit_tests() -> set[str]:
    return {str(path.relative_to(UNIT)) for path in UNIT.rglob("test_*.py")}


def test_every_module_has_its_unit_test_or_a_reason() -> None:
    assert sorted(s for s in sources() - WITHOUT_UNIT_TEST.keys() if unit_test_of(s) not in unit_tests()) == []


def test_every_unit_test_has_its_module_or_a_reason() -> None:
    assert (
        sorted(unit_tests() - {unit_test_of(each) for each in sources() | benchmarks()} - WITHOUT_MODULE.keys()) == []
    )


def test_no_reason_outlives_its_cause() -> None:
    unneeded = {s for s in WITHOUT_UNIT_TEST if s not in sources() or unit_test_of(s) in unit_tests()}
    unneeded |= {t for t in WITHOUT_MODULE if t not in unit_tests()}
    assert unneeded == set()


def test_the_files_that_go_first_are_there() -> None:
    assert [name for name in FIRST if not (TESTS / name).is_file()] == []

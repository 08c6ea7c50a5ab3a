"""The build: which modules are compiled, what the switches do, and that a failed compile leaves no half.

Owns: setup.py, compiled_modules.py, dashboard/vendor.py and the lock files as a user of them sees them.
Refuses to know: what the modules do.
"""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import equipoise
from compiled_modules import COMPILED_FOLDERS, INTERPRETED, PACKAGE, SOURCE, compiled_modules, dotted_name

ROOT = SOURCE.parent
EXTENSION = (".so", ".pyd")

# setup.py of a small tree: a second or two for mypyc, one for the C compiler without optimisation.
BUILD_TIMEOUT_S = 120


def modules_on_disk() -> set[str]:
    return {dotted_name(path) for path in (SOURCE / PACKAGE).rglob("*.py") if path.name != "__main__.py"}


@pytest.mark.parametrize("name", sorted(modules_on_disk()))
def test_a_module_is_an_extension_exactly_when_it_is_listed_and_the_mode_is_compiled(name: str, compiled: bool) -> None:
    origin = str(importlib.import_module(name).__file__)
    assert origin.endswith(EXTENSION) == (compiled and name in compiled_modules())


def test_the_list_is_every_module_of_the_compiled_folders_that_has_no_reason_against_it() -> None:
    in_folders = {
        dotted_name(path)
        for folder in COMPILED_FOLDERS
        for path in (SOURCE / PACKAGE / folder).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert set(compiled_modules()) == (in_folders | {f"{PACKAGE}.errors"}) - INTERPRETED.keys()


def test_every_exclusion_names_a_module_that_would_be_compiled_and_a_reason() -> None:
    wrong = {
        name: reason
        for name, reason in INTERPRETED.items()
        if not reason or name not in modules_on_disk() or name.split(".")[1] not in COMPILED_FOLDERS
    }
    assert wrong == {}


def test_no_extension_lies_in_src_where_it_would_shadow_the_file_beside_it() -> None:
    assert [str(path) for path in SOURCE.rglob("*") if path.name.endswith(EXTENSION)] == []


# What setup.py does, on a small tree of its own ---------------------------------------------------------------------


class SmallTree:
    """A copy of the build files with two modules to compile."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("setup.py", "compiled_modules.py"):
            shutil.copy(ROOT / name, root / name)
        (root / "pyproject.toml").write_text(
            '[project]\nname = "small"\nversion = "1"\n[tool.setuptools.packages.find]\nwhere = ["src"]\n'
        )
        package = root / "src" / PACKAGE
        (package / "wire").mkdir(parents=True)
        for folder in (package, package / "wire"):
            (folder / "__init__.py").write_text("")
        (package / "errors.py").write_text("def one() -> int:\n    return 1\n")
        (package / "wire" / "frames.py").write_text("def two() -> int:\n    return 2\n")

    def break_types(self) -> None:
        (self.root / "src" / PACKAGE / "errors.py").write_text('def one() -> int:\n    return "1"\n')

    def build(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the build with this environment on top of ours, in which no switch is set."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("EQUIPOISE_") and key != "CI"}
        clean.pop("PYTHONPATH", None)
        return subprocess.run(
            [sys.executable, "setup.py", "build", "--build-base", "out"],
            cwd=self.root,
            env={**clean, "EQUIPOISE_OPT_LEVEL": "0", **environment},
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )

    def extensions(self) -> list[str]:
        return sorted(path.name.partition(".")[0] for path in self.root.rglob("out/lib*/**/*.so"))

    def plain_files(self) -> list[str]:
        return sorted(path.name for path in self.root.rglob("out/lib*/**/*.py") if path.name != "__init__.py")


@pytest.fixture
def tree(tmp_path: Path) -> SmallTree:
    return SmallTree(tmp_path)


has_compiler = pytest.mark.needs("cc")
pytestmark = pytest.mark.timeout(2 * BUILD_TIMEOUT_S)


@has_compiler
def test_a_build_compiles_every_listed_module(tree: SmallTree) -> None:
    assert tree.build(EQUIPOISE_REQUIRE_COMPILE="1").returncode == 0
    assert tree.extensions() == ["equipoise__mypyc", "errors", "frames"]


def test_skip_builds_pure_python_without_a_word(tree: SmallTree) -> None:
    done = tree.build(EQUIPOISE_SKIP_COMPILE="1")
    assert (done.returncode, tree.extensions(), "equipoise:" in done.stderr) == (0, [], False)
    assert tree.plain_files() == ["errors.py", "frames.py"]


def test_both_switches_at_once_are_an_error(tree: SmallTree) -> None:
    done = tree.build(EQUIPOISE_SKIP_COMPILE="1", EQUIPOISE_REQUIRE_COMPILE="1")
    assert done.returncode != 0
    assert "exclude each other" in done.stderr


def test_a_switch_that_says_neither_yes_nor_no_is_an_error(tree: SmallTree) -> None:
    done = tree.build(EQUIPOISE_SKIP_COMPILE="perhaps")
    assert done.returncode != 0
    assert "must be 1 or 0" in done.stderr


def test_require_fails_when_a_module_does_not_translate(tree: SmallTree) -> None:
    tree.break_types()
    done = tree.build(EQUIPOISE_REQUIRE_COMPILE="1")
    assert done.returncode != 0
    assert "translation by mypyc failed" in done.stderr


def test_without_a_switch_a_module_that_does_not_translate_means_pure_python_and_a_loud_word(tree: SmallTree) -> None:
    tree.break_types()
    done = tree.build()
    assert (done.returncode, tree.extensions()) == (0, [])
    assert "translation by mypyc FAILED" in done.stderr
    assert "PURE PYTHON" in done.stderr


def test_require_fails_when_there_is_no_compiler(tree: SmallTree) -> None:
    done = tree.build(EQUIPOISE_REQUIRE_COMPILE="1", CC="/nonexistent/cc")
    assert done.returncode != 0
    assert "compilation of the C code failed" in done.stderr


def test_without_a_switch_no_compiler_means_pure_python_and_a_loud_word(tree: SmallTree) -> None:
    done = tree.build(CC="/nonexistent/cc")
    assert (done.returncode, tree.extensions()) == (0, [])
    assert tree.plain_files() == ["errors.py", "frames.py"]
    assert "compilation of the C code FAILED" in done.stderr


@has_compiler
def test_a_compile_that_fails_half_way_leaves_no_extension_behind(tree: SmallTree) -> None:
    """The compiler works for the first extension and then no more."""
    wrapper = tree.root / "failing-cc"
    calls = tree.root / "calls"
    script = f'echo x >> "{calls}"; [ "$(wc -l < "{calls}")" -le 3 ] || exit 1; exec cc "$@"'
    wrapper.write_text(f"#!/bin/sh\n{script}\n")
    wrapper.chmod(0o755)
    done = tree.build(CC=str(wrapper))
    assert (done.returncode, tree.extensions()) == (0, [])
    assert "compilation of the C code FAILED" in done.stderr
    assert len(calls.read_text().splitlines()) > 3


# The packages ------------------------------------------------------------------------------------------------------


class Packages:
    """The sdist, the wheel built from it, and where the wheel is installed; not compiled, without the dashboard.

    `make package` does the same compiled, in environments that have nothing else.
    """

    def __init__(self, root: Path) -> None:
        tree, programs = root / "tree", root / "programs"
        sources = ("src", "dashboard", "setup.py", "compiled_modules.py", "pyproject.toml", "README.md", "LICENSE")
        for name in (*sources, "MANIFEST.in"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, tree / name)
        for left in ("__pycache__", "vendor", "node_modules", "*.egg-info"):
            for folder in list(tree.rglob(left)):
                shutil.rmtree(folder)
        programs.mkdir()  # no npm: it would ask the registry
        self._run(
            [sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check", "."], tree, str(programs)
        )
        (self.sdist,) = (tree / "dist").glob("*.tar.gz")
        (self.wheel,) = (tree / "dist").glob("*.whl")
        self.home = root / "home"
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
        self._run([*pip, "--target", str(self.home), str(self.wheel)], root, os.environ["PATH"])

    def run(self, *words: str) -> str:
        """What the installed package says, with the libraries of this environment."""
        command = [sys.executable, "-P", "-m", *words]
        return self._run(command, self.home.parent, os.environ["PATH"], PYTHONPATH=str(self.home))

    def _run(self, command: list[str], folder: Path, path: str, **more: str) -> str:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("EQUIPOISE_", "PYTHON"))}
        environment = {**clean, "EQUIPOISE_SKIP_COMPILE": "1", "PATH": path, **more}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    return Packages(tmp_path_factory.mktemp("packages"))


def test_the_sdist_has_what_a_build_needs_and_nothing_that_was_built(packages: Packages) -> None:
    with tarfile.open(packages.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"setup.py", "compiled_modules.py", "LICENSE", "README.md", "dashboard/vendor.py"}
    needed |= {"dashboard/package-lock.json", "src/equipoise/py.typed", "src/equipoise/admin/static/index.html"}
    assert needed - names == set()
    assert [name for name in names if name.endswith((*EXTENSION, ".c", ".pyc"))] == []


def test_the_wheel_has_every_module_the_types_and_the_dashboards_own_files(packages: Packages) -> None:
    with zipfile.ZipFile(packages.wheel) as archive:
        names = set(archive.namelist())
    modules = {str(path.relative_to(SOURCE)) for path in (SOURCE / PACKAGE).rglob("*.py")}
    assert (modules | {"equipoise/py.typed", "equipoise/admin/static/index.html"}) - names == set()
    assert {name.partition("/")[0] for name in names} == {"equipoise", f"equipoise-{equipoise.__version__}.dist-info"}


def test_the_wheel_says_what_it_is(packages: Packages) -> None:
    with zipfile.ZipFile(packages.wheel) as archive:
        folder = f"equipoise-{equipoise.__version__}.dist-info"
        found = Metadata.from_email(archive.read(f"{folder}/METADATA"), validate=True)
        points = archive.read(f"{folder}/entry_points.txt").decode()
    assert (found.name, str(found.version)) == ("equipoise", equipoise.__version__)
    assert found.license_expression == "Apache-2.0"
    assert found.description_content_type == "text/markdown"
    assert set(found.provides_extra or ()) == {"audit", "demo", "dev", "docs", "grpc"}
    assert "Typing :: Typed" in (found.classifiers or ())
    assert "[pytest11]" in points
    assert "[console_scripts]" in points


def test_the_wheel_runs_where_it_is_installed(packages: Packages) -> None:
    assert packages.run("equipoise", "--version") == f"equipoise {equipoise.__version__} (interpreted)\n"
    assert "good" in packages.run("equipoise", "check", "-c", str(ROOT / "examples" / "minimal" / "equipoise.toml"))


def test_a_type_checker_knows_the_package_and_its_names(packages: Packages) -> None:
    program = packages.home.parent / "program.py"
    program.write_text(
        "from equipoise import Balancer\n"
        "with Balancer({}) as balancer:\n    reveal_type(balancer.url)\n"
        "async def main() -> None:\n"
        "    async with Balancer({}) as balancer:\n        reveal_type(await balancer.status())\n"
    )
    said = packages.run("mypy", "--cache-dir", os.devnull, "--python-executable", sys.executable, str(program))
    assert re.findall(r'Revealed type is "(.*)"', said) == [
        "str",
        "dict[str, Any]",
    ]


def test_wheels_for_others_are_tested_by_the_same_check() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    assert settings["environment"]["EQUIPOISE_REQUIRE_COMPILE"] == "1"
    (script,) = re.findall(r"\{project\}/(\S+)", settings["test-command"])
    assert os.access(ROOT / script, os.X_OK)
    built = {each.partition("-")[0] for each in settings["build"]}
    said = (ROOT / "pyproject.toml").read_text()
    named = set(re.findall(r"Programming Language :: Python :: 3\.(\d+)", said))
    assert built == {f"cp3{minor}" for minor in named}


# Dependencies -------------------------------------------------------------------------------------------------------


def declared(extra: str | None) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + (project["optional-dependencies"][extra] if extra else [])
    return [Requirement(line) for line in lines]


def locked(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text()
    return {
        canonicalize_name(each): version for each, version in re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE)
    }


@pytest.mark.parametrize(("lock", "extra"), [("runtime.lock", None), ("dev.lock", "dev")])
def test_the_lock_holds_every_declared_dependency_at_a_version_that_is_allowed(lock: str, extra: str | None) -> None:
    versions = locked(lock)
    wrong = [
        str(need)
        for need in declared(extra)
        if not need.specifier.contains(versions.get(canonicalize_name(need.name), "0"))
    ]
    assert wrong == []


def test_the_auditor_is_locked_alone() -> None:
    """`make audit` brings it into an environment of its own; the others need none of it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (need,) = (Requirement(line) for line in project["optional-dependencies"]["audit"])
    assert need.specifier.contains(locked("audit.lock")[need.name])


def test_the_tools_are_locked_together_with_the_run_time_dependencies() -> None:
    assert locked("runtime.lock").items() <= locked("dev.lock").items()


@pytest.mark.parametrize("lock", ["runtime.lock", "dev.lock", "audit.lock"])
def test_the_lock_names_no_host(lock: str) -> None:
    assert re.findall(r"\w+://|--(?:extra-)?index|--find-links", (ROOT / "requirements" / lock).read_text()) == []


@pytest.mark.parametrize("lock", ["runtime.lock", "dev.lock", "audit.lock"])
def test_every_locked_package_has_a_hash(lock: str) -> None:
    blocks = re.split(r"\n(?=[\w.-]+==)", (ROOT / "requirements" / lock).read_text())
    assert [block.splitlines()[0] for block in blocks if "==" in block and "--hash=sha256:" not in block] == []


# What the dashboard brings in from npm ------------------------------------------------------------------------------

DASHBOARD = ROOT / "dashboard"
# What stands in for npm: it makes the files that vendor.py looks for, and needs no registry.
NPM = """#!/bin/sh
mkdir -p node_modules/preact/dist node_modules/preact/hooks/dist node_modules/htm/dist node_modules/uplot/dist
for name in preact htm uplot; do echo licence >node_modules/$name/LICENSE; done
echo 'export {} //# sourceMappingURL=preact.mjs.map' >node_modules/preact/dist/preact.mjs
echo 'import{options}from"preact";//# sourceMappingURL=hooks.mjs.map' >node_modules/preact/hooks/dist/hooks.mjs
for name in htm/dist/htm.mjs uplot/dist/uPlot.esm.js uplot/dist/uPlot.min.css; do : >node_modules/$name; done
"""


class DashboardTree(SmallTree):
    """A small tree with the dashboard, and a path of programs that has this npm or none."""

    def __init__(self, root: Path, npm: str | None) -> None:
        super().__init__(root)
        shutil.copytree(DASHBOARD, root / "dashboard", ignore=shutil.ignore_patterns("node_modules"))
        (self.static / "js").mkdir(parents=True)
        (self.static.parent / "__init__.py").write_text("")
        with (root / "pyproject.toml").open("a") as project:
            project.write('[tool.setuptools.package-data]\n"equipoise.admin" = ["static/**/*"]\n')
        self.programs = root / "programs"
        self.programs.mkdir()
        for name in ("sh", "mkdir"):
            (self.programs / name).symlink_to(str(shutil.which(name)))
        if npm is not None:
            (self.programs / "npm").write_text(npm)
            (self.programs / "npm").chmod(0o755)

    @property
    def static(self) -> Path:
        return self.root / "src" / PACKAGE / "admin" / "static"

    def build_pure(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.build(EQUIPOISE_SKIP_COMPILE="1", PATH=str(self.programs), **environment)

    def packaged(self) -> set[str]:
        return {path.name for path in self.root.rglob("out/lib*/equipoise/admin/static/vendor/*")}


def test_a_build_brings_the_dashboard_s_files_into_the_package(tmp_path: Path) -> None:
    tree = DashboardTree(tmp_path, NPM)
    done = tree.build_pure()
    assert (done.returncode, "LEFT OUT" in done.stderr) == (0, False)
    files = {"preact.js", "hooks.js", "htm.js", "uplot.js", "uplot.css", "manifest.json"}
    assert tree.packaged() == files | {f"{name}.LICENSE.txt" for name in ("preact", "htm", "uplot")}


def test_a_browser_can_follow_the_imports_between_the_files(tmp_path: Path) -> None:
    tree = DashboardTree(tmp_path, NPM)
    tree.build_pure()
    assert 'from"./preact.js"' in (tree.static / "vendor" / "hooks.js").read_text()


def test_files_that_are_current_are_not_fetched_again(tmp_path: Path) -> None:
    tree = DashboardTree(tmp_path, NPM)
    tree.build_pure()
    (tree.programs / "npm").write_text("#!/bin/sh\nexit 1\n")
    assert "LEFT OUT" not in tree.build_pure().stderr


@pytest.mark.parametrize("npm", [None, "#!/bin/sh\necho 'npm error no way there' >&2\nexit 1\n", "#!/bin/sh\n"])
def test_without_npm_the_dashboard_is_left_out_with_a_loud_word(tmp_path: Path, npm: str | None) -> None:
    tree = DashboardTree(tmp_path, npm)
    done = tree.build_pure()
    assert (done.returncode, tree.packaged()) == (0, set())
    assert "DASHBOARD IS LEFT OUT" in done.stderr


def test_without_npm_the_build_fails_where_the_dashboard_is_required(tmp_path: Path) -> None:
    done = DashboardTree(tmp_path, None).build_pure(EQUIPOISE_REQUIRE_DASHBOARD="1")
    assert done.returncode != 0
    assert "npm is not installed" in done.stderr


def test_the_dashboard_s_lock_names_no_host_and_has_a_hash_for_every_package() -> None:
    packages = json.loads((DASHBOARD / "package-lock.json").read_bytes())["packages"]
    found = {name: set(package) & {"resolved", "integrity"} for name, package in packages.items() if name}
    assert found
    assert set(map(frozenset, found.values())) == {frozenset({"integrity"})}


def test_the_dashboard_s_dependencies_are_pinned_as_they_are_locked() -> None:
    wanted = json.loads((DASHBOARD / "package.json").read_bytes())["dependencies"]
    packages = json.loads((DASHBOARD / "package-lock.json").read_bytes())["packages"]
    assert {f"node_modules/{name}": version for name, version in wanted.items()} == {
        name: package["version"] for name, package in packages.items() if name
    }

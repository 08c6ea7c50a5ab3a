"""Every command that the documentation shows is run as it stands there, or is on a list with the reason why not.

Owns: the pages that are run, what each of them begins with, and the reasons.
Refuses to know: what the commands say; the other scenarios do.

A page is one script of bash, in a network of its own, where every port is free, and among processes of its own, which
end with it. Blocks of configuration with a title are written to the file of that name before the next command.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scenarios.support.balancer import environment

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "benchmarks" / "README.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md")) + sorted((ROOT / "examples").rglob("*.md"))
FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'title="([^"]+)"')
SHELL = ("sh", "bash", "console")
TIMEOUT_S = 170

# What stands before a page that tells of a balancer that runs: two targets, a and b, and five requests.
RUNNING = """
cat >equipoise.toml <<'.'
listen = "127.0.0.1:8080"
[pools.default]
targets = [{ url = "http://127.0.0.1:9001", name = "a" }, { url = "http://127.0.0.1:9002", name = "b" }]
[access_log]
path = "access.log"
.
equipoise target --port 9001 --name a &
equipoise target --port 9002 --name b &
equipoise run 2>equipoise.log &
listens 9001 9002 8080 8081
for i in 1 2 3 4 5; do curl -s -o first.txt http://127.0.0.1:8080/; done
until [ -s access.log ]; do sleep 0.05; done
"""
NOTHING = ""

# Page -> what it begins with.
RUN = {
    "README.md": NOTHING,
    "docs/tutorial.md": NOTHING,
    "docs/how-to/getting-started.md": NOTHING,
    "docs/how-to/admin-api-security.md": RUNNING,
    "docs/how-to/caching.md": RUNNING,
    "docs/how-to/command-line-client.md": RUNNING,
    "docs/how-to/dashboard.md": RUNNING,
    "docs/how-to/demo.md": NOTHING,
    "docs/how-to/grpc.md": NOTHING,
    "docs/how-to/live-changes.md": RUNNING,
    "docs/how-to/llm-streaming.md": RUNNING,
    "docs/how-to/metrics.md": RUNNING,
    "docs/how-to/reading-the-log.md": RUNNING,
    "docs/how-to/zero-downtime-deploys.md": RUNNING,
    "examples/custom-algorithm/README.md": NOTHING,
    "examples/custom-sink/README.md": NOTHING,
    "examples/grpc/README.md": NOTHING,
    "examples/tls/README.md": NOTHING,
}
# Page -> where its balancer listens, when not as usual.
PORTS = {"examples/tls/README.md": "8443 9443 8081"}

# Page -> how a block begins -> why it is not run. An empty beginning stands for the whole page.
BUILDS = "builds the project; CI does so before this test"
NOT_RUN: dict[str, dict[str, str]] = {
    "README.md": {"make demo": BUILDS},
    "docs/tutorial.md": {"make compile": BUILDS},
    "docs/how-to/getting-started.md": {"make compile": BUILDS},
    "docs/how-to/admin-api-security.md": {"(umask 077": "writes below /etc"},
    "docs/how-to/benchmarks.md": {"": "takes many minutes, and the peers"},
    "docs/how-to/command-line-client.md": {
        "export EQUIPOISE_ADMIN": "needs another host",
        "equipoise top --interval": "takes a minute; tests/scenarios/client/test_top.py runs its like",
        "equipoise --install-completion": "writes into the settings of the shell",
    },
    "docs/how-to/compose.md": {"": "needs Docker; tests/scenarios/shipping runs the same without"},
    "docs/how-to/dashboard.md": {"make vendor": BUILDS},
    "docs/how-to/fresh-machine.md": {"": "takes the half of an hour, and debootstrap"},
    "docs/how-to/fuzzing.md": {
        "": "takes minutes; tests/property/test_fuzz.py and smuggling/test_differential.py run their like"
    },
    "docs/how-to/demo.md": {
        "make demo": "takes a minute and more; tests/unit/demo/test_run.py runs a short one",
    },
    "docs/how-to/docker.md": {"": "needs Docker; tests/unit/deploy/test_image.py looks at what it would do"},
    "docs/how-to/grpc.md": {"equipoise demo": "takes a minute; tests/scenarios/grpc/test_demo.py runs a short one"},
    "docs/how-to/kubernetes.md": {"": "needs a cluster; tests/unit/deploy/test_kubernetes.py checks the manifests"},
    "docs/how-to/live-changes.md": {"equipoise reload\nsystemctl": "needs systemd for its second line"},
    "docs/how-to/soak.md": {"": "takes minutes; tests/scenarios/faults runs a short one"},
    "docs/how-to/systemd.md": {"": "installs a service; tests/scenarios/shipping/test_service_manager.py runs one"},
    "docs/how-to/tls.md": {"": "needs a host of a name; tests/scenarios/tls runs its like"},
    "benchmarks/README.md": {"": "takes many minutes, and the peers"},
}

# Page -> lines that fail there, and should.
FAILS = {
    "docs/how-to/live-changes.md": {
        "equipoise targets remove c --force": "the line before has removed it; a page shows both ways",
    },
    "examples/tls/README.md": {
        "curl --cacert certificates/ca.pem https://localhost:9443/": "a client without a certificate is refused there",
    },
}

PRELUDE = r"""
set -m
trap 'echo "::failed with $?: $BASH_COMMAND" >&2' ERR
listens() { # waits until somebody listens at each of these ports
    local port tries
    for port; do
        for tries in {1..400}; do (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null && continue 2; sleep 0.05; done
        echo "::failed: nobody listens at $port" >&2
    done
}
python - <<'.'
import fcntl, socket, struct  # the loopback of a new network is down
with socket.socket() as sock:
    flags = struct.unpack("16sH", fcntl.ioctl(sock, 0x8913, struct.pack("16sH14x", b"lo", 0))[:18])[1]
    fcntl.ioctl(sock, 0x8914, struct.pack("16sH14x", b"lo", flags | 1))
.
"""


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    language: str
    title: str
    text: str

    @property
    def commands(self) -> str:
        """What is to be typed; of a dialogue, without what is said to it."""
        if self.language != "console":
            return self.text
        return "".join(f"{line[2:]}\n" for line in self.text.splitlines() if line.startswith("$ "))

    @property
    def reason(self) -> str:
        """Why it is not run; empty when it is."""
        reasons = NOT_RUN.get(self.page, {})
        return next((why for start, why in reasons.items() if self.text.startswith(start)), "")


def blocks(page: Path) -> Iterator[Block]:
    name = str(page.relative_to(ROOT))
    for match in FENCE.finditer(page.read_text()):
        language, _, more = match[2].partition(" ")
        title = TITLE.search(more)
        yield Block(name, language, title[1] if title else "", match[3])


def script(page: Path) -> str:
    """The page as a script of bash."""
    name = str(page.relative_to(ROOT))
    parts = [PRELUDE, RUN[name]]
    for block in blocks(page):
        if block.title:
            parts.append(f"cat >{block.title} <<'.'\n{block.text}.\n")
        elif block.language in SHELL and not block.reason:
            parts.append(runnable(block.commands, FAILS.get(name, {}), PORTS.get(name, "8080 8081")))
    # On a line of its own, whether what came before it ended its line or not.
    return "\n".join([*parts, r"printf '\n::end\n'"])


def runnable(text: str, fails: dict[str, str], ports: str = "8080 8081") -> str:
    """A block for a script: what a person would end with Ctrl-C goes into the background, or ends by itself."""
    lines = []
    for line in re.sub(r"\\\n *", "", text).splitlines():
        command = re.sub(r"\s+#.*", "", line)
        if command in fails:
            command = f"! {command}"
        elif command == "equipoise config --diff":
            command += " || [ $? = 1 ]"  # as diff does: there are differences
        elif re.match(r"equipoise top\b", command):
            command = f"timeout -s INT 3 {command} >top.txt || [ $? = 124 ] || [ $? = 130 ]"
        elif re.match(r"equipoise (run|target)\b", command) and not command.endswith("&"):
            command += " &"
        lines.append(command)
        if re.match(r"equipoise run\b", command):
            lines.append(f"listens {ports}")
        elif started := re.findall(r"(?:equipoise target\b[^&]*--port|python target.py) (\d+)", command):
            lines.append(f"listens {' '.join(started)}")
    return "\n".join(lines) + "\n"


@pytest.mark.needs("unshare", "curl", "jq", "openssl")
@pytest.mark.timeout(TIMEOUT_S + 30)
@pytest.mark.parametrize("name", RUN)
def test_every_command_of_a_page_works(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    page = ROOT / name
    if page.parent.is_relative_to(ROOT / "examples"):
        shutil.copytree(page.parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        folder.mkdir()
    programs = tmp_path / "programs"
    programs.mkdir()
    for program, words in (("python", ""), ("equipoise", " -m equipoise")):
        (programs / program).write_text(f'#!/bin/sh\nexec {sys.executable}{words} "$@"\n')
        (programs / program).chmod(0o755)
    (tmp_path / "page.sh").write_text(script(page))
    done = run(tmp_path / "page.sh", folder, f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    assert "::failed" not in done.stderr, done.stdout + done.stderr
    # What is still running may say good-bye after it.
    assert "\n::end\n" in done.stdout, done.stdout + done.stderr


def run(file: Path, folder: Path, path: str) -> "subprocess.CompletedProcess[str]":
    """Run a script among processes and in a network of its own."""
    rights = [] if os.geteuid() == 0 else ["--map-root-user", "--user"]
    own = ["unshare", *rights, "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*own, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system gives nobody a network of their own")
    more = {"PATH": path, "EQUIPOISE_ADMIN": "", "EQUIPOISE_TOKEN": ""}
    env = {name: value for name, value in {**environment(), **more}.items() if value}
    out, errors = file.with_suffix(".out"), file.with_suffix(".err")
    with out.open("w") as stdout, errors.open("w") as stderr:
        code = subprocess.run(
            [*own, "bash", str(file)], cwd=folder, env=env, stdout=stdout, stderr=stderr, check=False, timeout=TIMEOUT_S
        ).returncode
    return subprocess.CompletedProcess([], code, out.read_text(), errors.read_text())


# The lists


def test_every_block_of_commands_is_run_or_has_a_reason() -> None:
    shown = [block for page in PAGES for block in blocks(page) if block.language in SHELL]
    assert [f"{block.page}: {block.text}" for block in shown if not block.reason and block.page not in RUN] == []


def test_no_reason_outlives_its_block() -> None:
    texts: dict[str, list[str]] = {}
    for page in PAGES:
        for block in blocks(page):
            if block.language in SHELL:
                texts.setdefault(block.page, []).append(block.text)
    unneeded = [
        (page, start)
        for page, reasons in NOT_RUN.items()
        for start in reasons
        if not any(text.startswith(start) for text in texts.get(page, []))
    ]
    unneeded += [
        (page, line) for page, lines in FAILS.items() for line in lines if line not in "\n".join(texts.get(page, []))
    ]
    assert unneeded == []


def test_a_page_that_is_run_shows_commands() -> None:
    shown = {block.page for page in PAGES for block in blocks(page) if block.language in SHELL and not block.reason}
    assert set(RUN) - shown == set()


@pytest.mark.needs("unshare", "curl")
def test_a_command_that_fails_is_found(tmp_path: Path) -> None:
    file = tmp_path / "page.sh"
    file.write_text(PRELUDE.partition("python -")[0] + runnable("true\nfalse  # here\n", {}) + "echo ::end\n")
    done = run(file, tmp_path, os.environ.get("PATH", os.defpath))
    assert "::failed with 1: false" in done.stderr
    assert "::failed" not in run_text(tmp_path, runnable("false", {"false": "so it is"}))


def run_text(folder: Path, text: str) -> str:
    file = folder / "other.sh"
    file.write_text(PRELUDE.partition("python -")[0] + text)
    return run(file, folder, os.environ.get("PATH", os.defpath)).stderr


# Configurations of others


CHECKS = {
    "nginx": ("nginx", "-t", "-e", "/dev/null", "-c"),
    "haproxy": ("haproxy", "-c", "-f"),
}


@pytest.mark.parametrize("language", CHECKS)
def test_configurations_of_others_are_good(language: str, tmp_path: Path) -> None:
    program = shutil.which(CHECKS[language][0], path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        pytest.skip(f"not installed: {language}")
    found = [block.text for page in PAGES for block in blocks(page) if block.language == language]
    assert found
    for text in found:
        whole = f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{text}\n}}\n" if language == "nginx" else text
        whole = whole.replace("/var/log/nginx", str(tmp_path))
        (tmp_path / "file").write_text(whole)
        done = subprocess.run(
            [program, *CHECKS[language][1:], str(tmp_path / "file")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

"""The rows: how each balancer is found, configured and started.

Owns: command lines and configuration of Equipoise and its peers, and where their programs are.
Refuses to know: what is measured, and for how long.

Every peer gets what its own documentation recommends for production: keep-alive to the targets, least connections
where it has them, buffered logs where it can.
"""

import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.certificate import Certificate
from benchmarks.model import CACHE, Build, Link, Row
from benchmarks.origin import nginx_user
from benchmarks.render import render


class MissingProgram(Exception):
    """A program that the chosen rows need is not there."""


_NGINX_BIG_BUFFERS = (
    "proxy_buffer_size 16k; proxy_buffers 16 64k; proxy_busy_buffers_size 256k; proxy_max_temp_file_size 0;"
)


@dataclass(frozen=True)
class Place:
    """Where one row runs: its port, folder, targets and number of workers, and the certificate if it speaks TLS."""

    folder: Path
    port: int
    targets: Sequence[int]
    workers: int
    certificate: Certificate | None = None

    @property
    def log_path(self) -> Path:
        """The access log, for a row that writes one."""
        return self.folder / "access.log"

    def write(self, name: str, text: str) -> Path:
        """A configuration file in the row's folder."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def tls(self, row: Row, form: str) -> str:
        """`form` for a row that speaks TLS, with `{certificate}`, `{key}` and `{both}` filled in; "" for any other."""
        if row.link is not Link.TLS:
            return ""
        assert self.certificate is not None
        for name in ("certificate", "key", "both"):
            form = form.replace("{" + name + "}", str(getattr(self.certificate, name)))
        return form

    def each_target(self, form: str, joint: str = "\n") -> str:
        """`form` for each target, with `{port}` and `{n}` filled in."""
        numbered = enumerate(self.targets)
        return joint.join(form.replace("{port}", str(port)).replace("{n}", str(n)) for n, port in numbered)


@dataclass(frozen=True)
class Command:
    """What to start."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


class Programs:
    """The programs of the peers: on the PATH, or in the virtual environment made from requirements.lock."""

    def __init__(self, venv: Path) -> None:
        """`venv` holds the peers that come as wheels."""
        self._venv = venv

    def find(self, name: str) -> str:
        """The path of a program."""
        candidates = [self._venv / "bin" / name]
        if name == "envoy":  # its script is a Python wrapper that would count as part of the tree
            candidates = sorted(self._venv.glob("lib/python*/site-packages/envoy/_bin/envoy"))
        found = next((str(path) for path in candidates if os.access(path, os.X_OK)), None) or shutil.which(name)
        # Debian puts nginx and haproxy where the PATH of an ordinary user does not look.
        found = found or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")
        if found is None:
            raise MissingProgram(f"{name} is not installed (benchmarks/README.md says how to get the peers)")
        return str(Path(found).absolute())


def command(row: Row, place: Place, programs: Programs) -> Command:
    """Write the row's configuration and say what to start."""
    return _KINDS[row.kind](row, place, programs)


def _equipoise(row: Row, place: Place, _programs: Programs) -> Command:
    build = row.build or Build("equipoise", "python3")
    conf = place.write(
        "equipoise.toml",
        render(
            "equipoise.toml",
            listen=_equipoise_listen(row, place),
            workers=str(place.workers),
            folder=str(place.folder),
            targets=place.each_target(f'"{_scheme(row)}://127.0.0.1:{{port}}"', ", "),
            access_log=f'enabled = true\nsink = "json"\npath = "{place.log_path}"' if row.log else "enabled = false",
            cache='[pools.default.cache]\nenabled = true\nttl = "1h"' if row.variant == CACHE else "",
        ),
    )
    env = {"PYTHONPATH": build.path} if build.path else {}
    return Command([build.python, "-m", "equipoise", "run", "-c", str(conf)], env)


def _equipoise_listen(row: Row, place: Place) -> str:
    """A plain listener tells HTTP/2 from HTTP/1 by itself. A table stands behind the other keys of the file."""
    if row.link is not Link.TLS:
        return f'listen = "127.0.0.1:{place.port}"'
    tls = place.tls(row, 'certificate_file = "{certificate}", key_file = "{key}"')
    return f'listeners = [{{ address = "127.0.0.1:{place.port}", tls = {{ {tls} }} }}]'


def _scheme(row: Row) -> str:
    """Of the targets, in the words of Equipoise, Traefik and Caddy."""
    return "h2c" if row.link is Link.HTTP2 else "http"


_NGINX_HTTP1 = """proxy_pass http://targets;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;"""
_NGINX_GRPC = """grpc_pass grpc://targets;
            grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            grpc_set_header X-Forwarded-Proto $scheme;"""
_NGINX_CACHE_ZONE = (
    "proxy_cache_path @folder@/cache levels=1:2 keys_zone=answers:10m max_size=64m inactive=1h use_temp_path=off;\n"
    "    open_file_cache max=1000 inactive=1h;"
)
_NGINX_CACHE = "proxy_cache answers; proxy_cache_valid 200 1h; proxy_cache_lock on;"
_NGINX_TLS = "ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;"


def _nginx(row: Row, place: Place, programs: Programs) -> Command:
    form = "combined" if row.variant == "combined" else "json"
    # By default nginx writes each line by itself; with a buffer several at once, as Equipoise does.
    gathered = "" if row.variant == "line by line" else " buffer=64k flush=1s"
    conf = place.write(
        "nginx.conf",
        render(
            "nginx.conf",
            port=str(place.port),
            workers=str(place.workers),
            user=nginx_user(),
            targets=place.each_target("        server 127.0.0.1:{port};"),
            access_log=f"{place.log_path} {form}{gathered}" if row.log else "off",
            keepalive=str(max(128, 2 * len(place.targets))),
            buffers=_NGINX_BIG_BUFFERS if row.variant == "big buffers" else "",
            listen="ssl" if row.link is Link.TLS else "http2" if row.link.http2 else "",
            tls=place.tls(row, _NGINX_TLS),
            forward=_NGINX_GRPC if row.link is Link.HTTP2 else _NGINX_HTTP1,
            cache=_NGINX_CACHE_ZONE.replace("@folder@", str(place.folder)) if row.variant == CACHE else "",
            cached=_NGINX_CACHE if row.variant == CACHE else "",
        ),
    )
    return Command([programs.find("nginx"), "-p", str(place.folder), "-c", str(conf)])


def _haproxy(row: Row, place: Place, programs: Programs) -> Command:
    http = row.variant != "tcp"
    proto = "https" if row.link is Link.TLS else "http"
    options = f"option forwardfor\n    http-request set-header X-Forwarded-Proto {proto}"
    bind = "proto h2" if row.link.http2 and http else place.tls(row, "ssl crt {both}")
    target = " proto h2" if row.link is Link.HTTP2 and http else ""
    conf = place.write(
        "haproxy.cfg",
        render(
            "haproxy.cfg",
            port=str(place.port),
            workers=str(place.workers),
            mode="http" if http else "tcp",
            options=options if http else "",
            reuse="http-reuse always" if http else "",
            splice="option splice-response" if row.variant == "splice" else "",
            bind=bind,
            targets=place.each_target("    server t{n} 127.0.0.1:{port}" + target),
        ),
    )
    return Command([programs.find("haproxy"), "-f", str(conf), "-db"])


def _envoy(row: Row, place: Place, programs: Programs) -> Command:
    address = "{address: 127.0.0.1, port_value: {port}}"
    conf = place.write(
        "envoy.yaml",
        render(
            "envoy.yaml",
            port=str(place.port),
            access_log=render("envoy-log.yaml", path=str(place.log_path)) if row.log else "",
            tls=_envoy_tls(row, place),
            http2=render("envoy-http2.yaml") if row.link is Link.HTTP2 else "",
            targets=place.each_target("        - endpoint: {address: {socket_address: " + address + "}}"),
        ),
    )
    argv = [programs.find("envoy"), "-c", str(conf), "--concurrency", str(place.workers), "--log-level", "error"]
    # By default what is left of the log waits 10 s in memory.
    return Command([*argv, "--disable-hot-restart", "--file-flush-interval-msec", "1000"])


def _envoy_tls(row: Row, place: Place) -> str:
    if place.certificate is None or row.link is not Link.TLS:
        return ""
    return render("envoy-tls.yaml", certificate=str(place.certificate.certificate), key=str(place.certificate.key))


def _traefik(row: Row, place: Place, programs: Programs) -> Command:
    targets = place.each_target(f'        - {{url: "{_scheme(row)}://127.0.0.1:{{port}}"}}')
    tls = place.tls(row, "tls:\n  certificates:\n  - {certFile: {certificate}, keyFile: {key}}")
    router = ", tls: {}" if tls else ""
    place.write("traefik-dynamic.yaml", render("traefik-dynamic.yaml", targets=targets, router=router, tls=tls))
    log = f'accessLog: {{filePath: "{place.log_path}", format: json, bufferingSize: 1000}}' if row.log else ""
    text = render("traefik.yaml", port=str(place.port), folder=str(place.folder), access_log=log)
    conf = place.write("traefik.yaml", text)
    return Command([programs.find("traefik"), f"--configFile={conf}"], {"GOMAXPROCS": str(place.workers)})


def _caddy(row: Row, place: Place, programs: Programs) -> Command:
    log = f"\tlog {{\n\t\toutput file {place.log_path} {{\n\t\t\troll_disabled\n\t\t}}\n\t\tformat json\n\t}}"
    text = render(
        "Caddyfile",
        port=str(place.port),
        access_log=log if row.log else "",
        protocols="h1 h2c" if row.link.http2 else "h1",
        scheme="https" if row.link is Link.TLS else "http",
        tls=place.tls(row, "tls {certificate} {key}"),
        targets=place.each_target(f"{_scheme(row)}://127.0.0.1:{{port}}", " "),
    )
    conf = place.write("Caddyfile", text)
    home = str(place.folder)
    env = {"GOMAXPROCS": str(place.workers), "HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}
    return Command([programs.find("caddy"), "run", "--config", str(conf), "--adapter", "caddyfile"], env)


# What it can say of our fields; it knows neither bodies nor identifiers of requests, and writes line by line.
_NGHTTPX_LINE = (
    '{"time":"$time_iso8601","client":"$remote_addr","method":"$method","host":"$http_host","path":"$path",'
    '"protocol":"$protocol_version","status":$status,"target":"$backend_host:$backend_port",'
    '"duration_s":$request_time,"bytes_out":$body_bytes_sent}'
)


def _nghttpx(row: Row, place: Place, programs: Programs) -> Command:
    speaks = ";;proto=h2" if row.link is Link.HTTP2 else ""
    targets = place.each_target("--backend=127.0.0.1,{port}" + speaks, " ").split()
    front = f"--frontend=127.0.0.1,{place.port}" + ("" if row.link is Link.TLS else ";no-tls")
    options = ["--conf=/dev/null", "--log-level=ERROR", f"--workers={place.workers}", "--backlog=4096", "--no-ocsp"]
    files = place.tls(row, "{key} {certificate}").split()
    log = [f"--accesslog-file={place.log_path}", f"--accesslog-format={_NGHTTPX_LINE}"] if row.log else []
    return Command([programs.find("nghttpx"), *options, *log, "--add-x-forwarded-for", front, *targets, *files])


def _varnish(_row: Row, place: Place, programs: Programs) -> Command:
    """Only ever asked for what it keeps, so one target is enough."""
    conf = place.write("varnish.vcl", render("varnish.vcl", target=str(place.targets[0])))
    listen = ["-a", f"127.0.0.1:{place.port}", "-T", "none", "-n", str(place.folder / "varnish")]
    options = ["-F", "-j", "none", "-f", str(conf), "-s", "malloc,64m", "-p", f"thread_pools={place.workers}"]
    return Command([programs.find("varnishd"), *listen, *options])


def _other(row: Row, place: Place, _programs: Programs) -> Command:
    """Any other program, from `--row NAME=COMMAND`."""
    targets = place.each_target("127.0.0.1:{port}", ",")
    filled = row.command.replace("{port}", str(place.port)).replace("{targets}", targets)
    return Command(shlex.split(filled.replace("{workers}", str(place.workers))))


_KINDS: Mapping[str, Callable[[Row, Place, Programs], Command]] = {
    "equipoise": _equipoise,
    "nginx": _nginx,
    "haproxy": _haproxy,
    "envoy": _envoy,
    "traefik": _traefik,
    "caddy": _caddy,
    "nghttpx": _nghttpx,
    "varnishd": _varnish,
    "other": _other,
}

"""`equipoise healthcheck`: one question to a running process, its answer as an exit code.

Owns: its options, what counts as well.
Refuses to know: who asks (a container's health check, a service manager, a script), and what makes a balancer ready.
"""

from pathlib import Path
from typing import Annotated

import typer

from equipoise.cli.client_options import AdminOption
from equipoise.cli.options import DEFAULT_CONFIG, FAILED, WRONG_USAGE, CommandError, ConfigOption


def healthcheck(
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    admin: AdminOption = "",
    live: Annotated[
        bool, typer.Option("--live", help="Ask whether the process answers, not whether it takes requests.")
    ] = False,
    url: Annotated[
        str, typer.Option(metavar="URL", help="Ask something else, such as a demo target.", show_default="none")
    ] = "",
    timeout: Annotated[float, typer.Option(min=0.1, metavar="S", help="How long the answer may take.")] = 2.0,
) -> None:
    """Asks a running balancer whether it takes requests: all workers up, some target up, not draining.

    Exits with 0 when it does and with 1, and the reason on standard error, when it does not. No token is needed.
    """
    try:
        problem = ask(url or _probe(config, admin, live=live), timeout)
    except CommandError as error:
        typer.echo(f"equipoise healthcheck: {error}", err=True)
        raise typer.Exit(error.code) from None
    if problem:
        typer.echo(f"equipoise healthcheck: {problem}", err=True)
        raise typer.Exit(FAILED)


def _probe(config: Path, admin: str, *, live: bool) -> str:
    from equipoise.cli.access import find_access

    # A token would be made from the secret, which is not read for a question that needs none.
    access = find_access(config, admin, token="none", role="read")  # noqa: S106 -- not a secret
    return f"{access.url}/{'healthz' if live else 'readyz'}"


def ask(url: str, timeout: float) -> str:
    """Why what is behind a URL is not well; nothing when it is. Proxies of the environment are not asked.

    Args:
        url: answers a GET with a status of 200 to 299 when all is well.
        timeout: seconds for the connection, and for each wait for a piece of the answer.

    Raises:
        CommandError: it is no URL of HTTP.
    """
    from http.client import HTTPConnection, HTTPException, HTTPSConnection
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        kinds = {"http": HTTPConnection, "https": HTTPSConnection}
        connection = kinds[parts.scheme](parts.hostname or "", parts.port, timeout=timeout)
    except (KeyError, ValueError, HTTPException):
        raise CommandError(
            f"--url must be a URL such as http://127.0.0.1:9001/healthz, not {url!r}", WRONG_USAGE
        ) from None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", path, headers={"User-Agent": "equipoise-healthcheck"})
        response = connection.getresponse()
        said = response.read(1000).decode(errors="replace").strip()
    except (OSError, HTTPException, ValueError) as error:
        return f"{url}: {str(error) or type(error).__name__}"
    finally:
        connection.close()
    return "" if 200 <= response.status < 300 else f"{url}: {response.status} {said}".rstrip()

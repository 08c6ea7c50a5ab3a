"""Equipoise, an HTTP load balancer that keeps the requests in flight equal over its targets.

In a program or a test, `with Balancer(configuration) as balancer:` runs one; docs/how-to/library.md goes on from there.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equipoise.config.problems import ConfigError as ConfigError
    from equipoise.library.balancer import Balancer as Balancer
    from equipoise.library.errors import BalancerError as BalancerError
    from equipoise.library.errors import CallRefusedError as CallRefusedError
    from equipoise.library.running import AsyncRunning as AsyncRunning
    from equipoise.library.running import Running as Running

__version__ = "0.1.0"
__all__ = ["AsyncRunning", "Balancer", "BalancerError", "CallRefusedError", "ConfigError", "Running", "__version__"]

_HOMES = {
    "AsyncRunning": "equipoise.library.running",
    "Balancer": "equipoise.library.balancer",
    "BalancerError": "equipoise.library.errors",
    "CallRefusedError": "equipoise.library.errors",
    "ConfigError": "equipoise.config.problems",
    "Running": "equipoise.library.running",
}

if not TYPE_CHECKING:  # which would take any name from the package for a good one

    def __getattr__(name: str) -> Any:
        """What programs use, imported when it is first asked for: every process of ours imports this module."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)

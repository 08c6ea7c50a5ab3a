"""Code of the user's own, named in the file as `"python:module:name"`.

Owns: the import of such a name and the check that it is of the right kind.
Refuses to know: when it is called and with what.

The import runs the user's code. Whoever may write the configuration may run code as the balancer.
"""

import importlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from equipoise.policy.balance import Algorithm

PREFIX: Final = "python:"
_REFERENCE: Final = re.compile(r"python:([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)


def load_object(reference: str) -> object:
    """What `"python:module:name"` names; ValueError says why there is no such thing."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ValueError(f'{reference!r} must be "python:module:name"')
    module, name = match.groups()
    try:
        return getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:  # the import may raise anything
        raise ValueError(f"cannot be imported: {type(error).__name__}: {error}") from error


def load_algorithm(reference: str) -> "type[Algorithm]":
    """The class that the reference names; ValueError unless it is an algorithm."""
    from equipoise.policy.balance import Algorithm  # noqa: PLC0415  only a file with its own algorithm pays for it

    found = load_object(reference)
    if not (isinstance(found, type) and issubclass(found, Algorithm) and found is not Algorithm):
        raise ValueError("must name a subclass of equipoise.policy.balance.Algorithm")
    return found


def load_factory(reference: str) -> Callable[..., Any]:
    """What the reference names; ValueError unless it can be called."""
    found = load_object(reference)
    if not callable(found):
        raise ValueError("must name something that can be called")  # noqa: TRY004  a slip in the file, as all others
    return found

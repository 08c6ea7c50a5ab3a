"""Code of the user's own, named in the file as `"python:module:name"`.

Owns: the import of such a name and the check that it is of the right kind.
Refuses to know: when it is called and with what.

The import runs the user's code. Whoever may write the configuration may run code as the balancer.
"""

import importlib
import re
from typing import Final

PREFIX: Final = "python:"
_REFERENCE: Final = re.compile(r"python:([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)


def load_object(reference: str) -> object:
    """What `"python:module:name"` names; ValueError says why there is no such thing."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ValueError('must be "python:module:name"')
    module, name = match.groups()
    try:
        return getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:  # the import may raise anything
        raise ValueError(f"cannot be imported: {type(error).__name__}: {error}") from error


def check_algorithm(reference: str) -> None:
    """Raise ValueError unless the reference names an algorithm."""
    from equipoise.policy.balance import Algorithm  # noqa: PLC0415  only a file with its own algorithm pays for it

    found = load_object(reference)
    if not (isinstance(found, type) and issubclass(found, Algorithm) and found is not Algorithm):
        raise ValueError("must name a subclass of equipoise.policy.balance.Algorithm")


def check_factory(reference: str) -> None:
    """Raise ValueError unless the reference names something that can be called."""
    if not callable(load_object(reference)):
        raise ValueError("must name something that can be called")  # noqa: TRY004  a slip in the file, as all others

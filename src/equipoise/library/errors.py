"""What can go wrong with a balancer inside a program.

Owns: the exceptions, and their sentences.
Refuses to know: how any of it comes about.

A configuration that cannot be used is a `ConfigError` (`equipoise.config.problems`), with every problem at its place.
"""


class BalancerError(Exception):
    """The balancer did not start, has left, or does not answer; the text says what happened, with its last words."""


class CallRefusedError(BalancerError):
    """The balancer refused a call; nothing was changed.

    Attributes:
        status: of the admin API's answer: 404 no such pool or target, 409 conflict, 422 an invalid value,
            507 the disk does not take the change.
        detail: what is the matter.
        places: for each thing that is wrong with the call, where and what.
    """

    def __init__(self, status: int, detail: str, places: tuple[tuple[str, str], ...] = ()) -> None:
        named = "; ".join(f"{place}: {message}" if place else message for place, message in places)
        super().__init__(named or detail)
        self.status = status
        self.detail = detail
        self.places = places

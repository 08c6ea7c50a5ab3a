"""What a health probe can end with other than well.

Owns: the exceptions, whose text is the reason that people read.
Refuses to know: how a target is asked, what follows for its health.
"""


class ProbeError(Exception):
    """A target did not answer a probe as it should; the text is the reason."""


class UnreachableError(ProbeError):
    """A target did not even take the connection."""


class NotAskedError(Exception):
    """This machine is out of something that a probe takes, which says nothing of the target."""

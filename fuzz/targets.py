"""What is fuzzed: each reader of bytes that strangers send, by name, with what must hold of it.

Owns: the table of targets.
Refuses to know: where inputs come from, and what happens when one of them fails.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fuzz import control, data_path, fields, http1, http2


@dataclass(frozen=True)
class Target:
    """A reader of bytes.

    Attributes:
        check: raises when something does not hold; whatever the bytes, it returns otherwise.
        longest: bytes of an input at most; more find nothing that fewer do not.
        runs: inputs that one second is good for, roughly; bounded runs share their time by it.
    """

    check: Callable[[bytes], None]
    longest: int = 512
    runs: int = 1000


TARGETS: Final[dict[str, Target]] = {
    "http1_request": Target(http1.check_request, runs=250),
    "http1_response": Target(http1.check_response, runs=250),
    "chunked": Target(http1.check_chunked, 256, 800),
    "authority": Target(http1.check_authority, 80, 50_000),
    "frames": Target(http2.check_frames, 256, 800),
    "hpack": Target(http2.check_hpack, 256, 3_000),
    "http2_rules": Target(http2.check_rules, 256, 2_000),
    "client_http1": Target(data_path.check_client_http1, 512, 100),
    "target_http1": Target(data_path.check_target_http1, 512, 100),
    "client_http2": Target(data_path.check_client_http2, 512, 100),
    "target_http2": Target(data_path.check_target_http2, 512, 100),
    "structured": Target(fields.check_structured, 160, 3_000),
    "cache_control": Target(fields.check_cache_control, 160, 5_000),
    "date": Target(fields.check_date, 64, 10_000),
    "range": Target(fields.check_range, 64, 10_000),
    "entity_tags": Target(fields.check_tags, 128, 10_000),
    "grpc": Target(fields.check_grpc, 128, 4_000),
    "config": Target(control.check_config, 2_048, 500),
    "token": Target(control.check_token, 512, 2_000),
    "body": Target(control.check_body, 512, 5_000),
}

"""Our rules of RFC 9111 against those of `hishel`, which others wrote.

Where the two differ on purpose, the test says why: we refuse more, and hishel knows no fields beyond RFC 9111.
"""

import uuid
from datetime import UTC, datetime

from hishel import (
    AnyState,
    CacheMiss,
    CacheOptions,
    Entry,
    FromCache,
    Headers,
    IdleClient,
    NeedRevalidation,
    Request,
    Response,
    StoreAndUse,
)
from hypothesis import given
from hypothesis import strategies as st

from equipoise.model import CacheSpec
from equipoise.policy import rfc9111, rfc9111_store
from equipoise.policy.cache_request import CacheAnswer, CacheRequest
from equipoise.policy.caching import Rules
from equipoise.wire.field_lines import FieldPairs
from equipoise.wire.http_date import format_date
from tests.support.caches import request

NS = 1_000_000_000
RULES = Rules(CacheSpec(mode="rfc9111", ttl=7 * 86400.0), "p")
OPTIONS: CacheOptions = {"shared": True, "supported_methods": ["GET", "HEAD"], "allow_stale": False}

DIRECTIVES = st.sampled_from(
    ["max-age=60", "max-age=0", "s-maxage=60", "public", "private", "no-store", "no-cache", "must-revalidate", "x=y"]
)
CONTROLS = st.lists(DIRECTIVES, max_size=3, unique_by=lambda text: text.split("=")[0])
STATUSES = st.sampled_from([200, 201, 204, 206, 301, 302, 404, 500])
CLIENT = st.sampled_from(["", "no-cache", "max-age=10", "max-age=1000", "min-fresh=10"])
# Seconds since the answer, far from the borders: hishel looks at the clock by itself.
AGES = st.sampled_from([0, 5, 30, 55, 300])


def clock() -> int:
    return int(datetime.now(UTC).timestamp())


@st.composite
def answers(draw: st.DrawFn) -> tuple[int, FieldPairs, int]:
    """Status, fields, and how long ago it came, in seconds."""
    age = draw(AGES)
    born = clock() - age
    fields: FieldPairs = [(b"date", format_date(born))]
    control = draw(CONTROLS)
    if control:
        fields.append((b"cache-control", ", ".join(control).encode()))
    expires = draw(st.sampled_from([None, 60, -60]))
    if expires is not None:
        fields.append((b"expires", format_date(born + expires)))
    if draw(st.booleans()):
        fields.append((b"etag", b'"a"'))
    return draw(STATUSES), fields, age


def texts(fields: FieldPairs) -> Headers:
    return Headers({name.decode(): value.decode() for name, value in fields})


def asked(control: str, credentials: bool) -> CacheRequest:
    fields = [(b"cache-control", control.encode())] if control else []
    made = request(fields=fields + ([(b"authorization", b"x")] if credentials else []))
    assert RULES.consider(made, 0) == ""
    return made


def theirs(control: str, credentials: bool) -> Request:
    headers = {"cache-control": control} if control else {}
    if credentials:
        headers["authorization"] = "x"
    return Request("GET", "http://example.org/", Headers(dict(headers)))


@given(answers(), st.booleans())
def test_what_we_store_hishel_stores(made: tuple[int, FieldPairs, int], credentials: bool) -> None:
    """Not the other way: we keep neither other statuses nor what nobody could ever use."""
    status, fields, _ = made
    now = clock() * NS
    ours, answer = asked("", credentials), CacheAnswer(status, fields, True, now, now)
    if RULES.refuse(ours, answer) or rfc9111_store.refuse(RULES, ours, answer):
        return
    state = CacheMiss(OPTIONS, theirs("", credentials)).next(Response(status, texts(fields)))
    assert isinstance(state, StoreAndUse)


@given(answers(), st.booleans())
def test_what_hishel_stores_and_we_do_not_has_a_reason_that_we_chose(
    made: tuple[int, FieldPairs, int], credentials: bool
) -> None:
    status, fields, _ = made
    now = clock() * NS
    ours, answer = asked("", credentials), CacheAnswer(status, fields, True, now, now)
    why = RULES.refuse(ours, answer) or rfc9111_store.refuse(RULES, ours, answer)
    state = CacheMiss(OPTIONS, theirs("", credentials)).next(Response(status, texts(fields)))
    if isinstance(state, StoreAndUse) and why:
        # `status`: others than 2xx, 3xx and 404. `not_fresh`: stale at once, and nothing to validate it by.
        assert why in {"status", "not_fresh"}


@given(answers(), CLIENT)
def test_what_is_used_unasked_is_what_hishel_uses(made: tuple[int, FieldPairs, int], control: str) -> None:
    _, fields, age = made
    now = clock() * NS
    born = now - age * NS
    ours, answer = asked(control, credentials=False), CacheAnswer(200, fields, True, born, born)
    if RULES.refuse(ours, answer) or rfc9111_store.refuse(RULES, ours, answer):
        return
    cached = rfc9111_store.cache(RULES, ours, answer, 0)
    entry = Entry(uuid.uuid4(), theirs("", credentials=False), Response(200, texts(fields)))
    state: AnyState = IdleClient(OPTIONS).next(theirs(control, credentials=False), [entry])
    decision = rfc9111.decide(ours, cached, now)
    if isinstance(state, FromCache):
        # hishel looks at no directive of the client but no-cache.
        assert decision.action == rfc9111.HIT or control.startswith(("max-age", "min-fresh"))
    else:
        assert isinstance(state, NeedRevalidation)
        assert decision.action in {rfc9111.VALIDATE, rfc9111.MISS}


@given(answers())
def test_a_validation_has_the_conditions_of_hishel(made: tuple[int, FieldPairs, int]) -> None:
    _, fields, _ = made
    fields = [pair for pair in fields if pair[0] not in {b"cache-control", b"expires"}]
    fields += [(b"cache-control", b"no-cache"), (b"last-modified", format_date(1_000_000_000))]
    now = clock() * NS
    cached = rfc9111_store.cache(RULES, asked("", credentials=False), CacheAnswer(200, fields, True, now, now), 0)
    entry = Entry(uuid.uuid4(), theirs("", credentials=False), Response(200, texts(fields)))
    state = IdleClient(OPTIONS).next(theirs("", credentials=False), [entry])
    assert isinstance(state, NeedRevalidation)
    ours = {name.decode(): value.decode() for name, value in rfc9111.validators(cached)}
    assert {name.lower(): state.request.headers[name] for name in state.request.headers} == ours

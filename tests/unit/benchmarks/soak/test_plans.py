import random
from collections import Counter

from benchmarks.soak.plans import content, draw_large, draw_plan, draw_upload


def test_bodies_have_their_size_and_differ() -> None:
    assert [len(content(size)) for size in (0, 1, 65_521, 1024 * 1024)] == [0, 1, 65_521, 1024 * 1024]
    assert content(1000) != content(1001)[:1000]


def test_the_same_seed_draws_the_same_requests() -> None:
    one, two = random.Random(7), random.Random(7)
    assert [draw_plan(one) for _ in range(50)] == [draw_plan(two) for _ in range(50)]


def test_the_mix_has_every_kind_of_request() -> None:
    draw = random.Random(1)
    plans = [draw_plan(draw) for _ in range(500)]
    assert Counter(plan.method for plan in plans).keys() == {"GET", "POST", "PUT"}
    assert {plan.path.partition("?")[0] for plan in plans} == {"/web/bytes", "/web/echo", "/web/stream", "/kept/bytes"}


def test_only_a_post_may_not_be_sent_twice() -> None:
    draw = random.Random(1)
    assert {(plan.method, plan.safe) for plan in (draw_plan(draw) for _ in range(500))} == {
        ("GET", True),
        ("POST", False),
        ("PUT", True),
    }


def test_no_two_uploads_are_the_same() -> None:
    draw = random.Random(1)
    assert len({draw_upload(draw).body for _ in range(20)}) == 20


def test_large_requests_are_for_half_a_mebibyte_and_more() -> None:
    draw = random.Random(1)
    assert min(len(draw_large(draw).expected) for _ in range(20)) >= 512 * 1024

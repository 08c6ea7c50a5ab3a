from benchmarks.model import BODIES, CALL, Group, Row, Sample, Scenario, body_bytes, body_size, call_message, medians


def sample(cpu_us: float, errors: tuple[str, ...] = ()) -> Sample:
    return Sample("x", 100, cpu_us - 1.0, 1.0, 10.0 * cpu_us, 0.5, 1.5, 1000, 0.0, errors)


def test_figures_are_the_medians_of_the_rounds() -> None:
    figures = medians(Row("x", "nginx"), [sample(20.0), sample(90.0), sample(22.0)])

    assert (figures.cpu_us, figures.cpu_min_us, figures.cpu_max_us) == (22.0, 20.0, 90.0)
    assert (figures.user_us, figures.rate, figures.rounds) == (21.0, 220.0, 3)


def test_one_failed_load_marks_the_row() -> None:
    figures = medians(Row("x", "nginx"), [sample(20.0), sample(21.0, ("3 socket errors (read)",))])

    assert figures.errors == ("3 socket errors (read)",)


def test_bodies_have_the_size_that_they_are_named_for() -> None:
    assert {body: len(body_bytes(body)) for body in BODIES} == {"100B": 100, "10KiB": 10240, "1MiB": 1048576}


def test_a_group_starts_each_row_once() -> None:
    one, two = Row("one", "nginx"), Row("two", "haproxy")
    scenarios = (Scenario("a", "100B", (one,), 1, 1), Scenario("b", "1MiB", (two, one), 1, 1))

    assert Group(1, scenarios).rows == (one, two)


def test_a_message_says_its_own_length() -> None:
    for message in (call_message(), body_bytes(CALL)):
        assert message[:1] == b"\0"
        assert int.from_bytes(message[1:5], "big") == len(message) - 5
    assert len(body_bytes(CALL)) == body_size(CALL)

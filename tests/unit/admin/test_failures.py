from equipoise.admin.failures import ADDRESSES, BURST, RATE, Failures


def test_a_burst_of_200_is_let_through_and_the_next_one_waits() -> None:
    failures = Failures()
    assert [failures.count("a", 0.0) for _ in range(int(BURST))] == [0.0] * 200
    assert 0 < failures.count("a", 0.0) <= 1 / RATE


def test_20_a_second_are_let_through_for_ever() -> None:
    failures = Failures()
    for _ in range(int(BURST)):
        failures.count("a", 0.0)
    assert [failures.count("a", 1.0 + number / RATE) for number in range(1000)] == [0.0] * 1000


def test_whoever_waits_as_long_as_told_is_let_through() -> None:
    failures = Failures()
    now = 0.0
    while not (wait := failures.count("a", now)):
        pass
    assert failures.count("a", now + wait * 1.001) == 0.0


def test_a_pause_saves_up_no_more_than_a_burst() -> None:
    failures = Failures()
    failures.count("a", 0.0)
    waits = [failures.count("a", 1e9) for _ in range(int(BURST) + 1)]
    assert sum(wait > 0 for wait in waits) == 1


def test_addresses_are_counted_apart() -> None:
    failures = Failures()
    while not failures.count("a", 0.0):
        pass
    assert failures.count("b", 0.0) == 0.0


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first() -> None:
    failures = Failures()
    while not failures.count("old", 0.0):
        pass
    while not failures.count("kept", 0.0):
        pass
    for number in range(ADDRESSES - 1):
        failures.count(f"address {number}", 0.0)
    assert failures.count("kept", 0.0) > 0
    assert failures.count("old", 0.0) == 0.0

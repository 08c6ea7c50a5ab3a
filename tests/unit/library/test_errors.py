from equipoise.library.errors import BalancerError, CallRefusedError


def test_a_refusal_says_what_is_the_matter() -> None:
    error = CallRefusedError(404, 'there is no pool "x"')
    assert (str(error), error.status, isinstance(error, BalancerError)) == ('there is no pool "x"', 404, True)


def test_a_refusal_of_values_names_each_place_instead() -> None:
    error = CallRefusedError(422, "the body is not valid", (("weight", "must be from 1 to 1000"), ("", "too long")))
    assert str(error) == "weight: must be from 1 to 1000; too long"

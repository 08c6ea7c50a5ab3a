import pytest

from equipoise.cli.answers import Status, read
from equipoise.cli.names import choose_pool, choose_target
from equipoise.cli.options import FAILED, WRONG_USAGE, CommandError
from tests.support.admin_api import status, target

ONE = read(status(default=[target("10.0.0.1:9001"), target("blue")]), Status)
TWO = read(status(web=[], images=[]), Status)


def test_the_only_pool_is_meant_when_none_is_named() -> None:
    assert choose_pool(ONE, "") == "default"


def test_a_named_pool_is_that() -> None:
    assert choose_pool(TWO, "images") == "images"


def test_with_several_pools_one_must_be_named() -> None:
    with pytest.raises(CommandError, match="choose one with --pool: web, images") as caught:
        choose_pool(TWO, "")
    assert caught.value.code == WRONG_USAGE


def test_an_unknown_pool_is_told_with_the_nearest_and_all() -> None:
    with pytest.raises(CommandError) as caught:
        choose_pool(TWO, "image")
    assert str(caught.value) == 'there is no pool "image"; did you mean "images"? (there: web, images)'
    assert caught.value.code == FAILED


def test_a_target_is_found_by_its_name() -> None:
    assert choose_target("default", ONE.pools["default"], "blue").url == "http://blue"


def test_an_unknown_target_is_told_with_the_nearest_and_all() -> None:
    with pytest.raises(CommandError) as caught:
        choose_target("default", ONE.pools["default"], "10.0.0.1:9002")
    assert str(caught.value) == (
        'there is no target "10.0.0.1:9002" in pool default; did you mean "10.0.0.1:9001"? (there: 10.0.0.1:9001, blue)'
    )

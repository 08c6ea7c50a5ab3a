import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.wire.validators import is_entity_tag, is_strong, lists_tag, same_strongly, same_weakly


@pytest.mark.parametrize("tag", [b'""', b'"a"', b'W/"a"', b'"a,b"', b'"\xff!#"', b'"\\"'])
def test_entity_tags_of_rfc_9110(tag: bytes) -> None:
    assert is_entity_tag(tag)


@pytest.mark.parametrize(
    "tag", [b"", b"a", b'"a', b'w/"a"', b"W/a", b'"a"b', b'"a b"', b'"\x7f"', b' "a"', b"*", b'W/ "a"']
)
def test_what_is_no_entity_tag(tag: bytes) -> None:
    assert not is_entity_tag(tag)


@pytest.mark.parametrize(
    ("one", "other", "strong", "weak"),
    [
        (b'W/"1"', b'W/"1"', False, True),
        (b'W/"1"', b'W/"2"', False, False),
        (b'W/"1"', b'"1"', False, True),
        (b'"1"', b'"1"', True, True),
        (b'"1"', b'"2"', False, False),
    ],
)
def test_the_table_of_comparisons_in_rfc_9110(one: bytes, other: bytes, strong: bool, weak: bool) -> None:
    assert (same_strongly(one, other), same_weakly(one, other)) == (strong, weak)


@pytest.mark.parametrize(("tag", "strong"), [(b'"1"', True), (b'W/"1"', False)])
def test_a_tag_says_whether_it_is_strong(tag: bytes, strong: bool) -> None:
    assert is_strong(tag) == strong


@pytest.mark.parametrize(
    "value", [b'"a"', b'W/"a"', b'"x", "a"', b'"a", "x"', b'"x,y" ,, W/"a",', b"*", b" * ", b'\t"a"\t,"b"']
)
def test_a_list_that_names_a_tag(value: bytes) -> None:
    assert lists_tag(value, b'"a"')


@pytest.mark.parametrize(
    "value", [b"", b'"b"', b'"A"', b"a", b'"a" "b"', b'"a", b', b'"a", *', b'"x, "a"', b'"a', b'"a"b']
)
def test_a_list_that_does_not_or_is_none(value: bytes) -> None:
    assert not lists_tag(value, b'"a"')


@pytest.mark.parametrize(("value", "known"), [(b"*", True), (b'""', False), (b'"a"', False)])
def test_what_has_no_tag_is_named_by_the_asterisk_alone(value: bytes, known: bool) -> None:
    assert lists_tag(value, b"") == known


@given(st.binary(max_size=20), st.sampled_from([b'"a"', b'W/""', b""]))
def test_no_bytes_break_it(value: bytes, tag: bytes) -> None:
    assert lists_tag(value, tag) in {True, False}
    assert is_entity_tag(value) in {True, False}

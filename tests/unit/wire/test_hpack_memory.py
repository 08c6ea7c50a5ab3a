"""The dynamic tables and the remembered literals: order, eviction, bounds."""

import pytest

from equipoise.wire.hpack_header import STATIC, header
from equipoise.wire.hpack_memory import EVICTED_ENTRIES, EncoderTable, Literals, Table
from equipoise.wire.hpack_tables import HpackError

SIZE = 34  # of each field below: a name and a value of one octet each


def filled(count: int, limit: int = 4096) -> Table:
    table = Table(limit)
    for number in range(count):
        assert table.insert(header(b"n", bytes([0x30 + number % 10])))
    return table


def test_the_newest_entry_has_the_first_index_behind_the_static_table() -> None:
    table = filled(3)
    assert [table.at(index).value for index in (62, 63, 64)] == [b"2", b"1", b"0"]


@pytest.mark.parametrize("index", [65, 66, 1 << 35])
def test_behind_the_oldest_entry_there_is_none(index: int) -> None:
    with pytest.raises(HpackError):
        filled(3).at(index)


def test_the_oldest_entries_make_room() -> None:
    table = filled(5, 3 * SIZE)
    assert table.size == 3 * SIZE
    assert [table.at(index).value for index in (62, 63, 64)] == [b"4", b"3", b"2"]
    with pytest.raises(HpackError):
        table.at(65)


def test_a_smaller_limit_evicts_at_once() -> None:
    table = filled(5)
    table.resize(2 * SIZE + 1)
    assert table.size == 2 * SIZE
    table.resize(0)
    assert table.size == 0
    assert not table.insert(header(b"n", b"v"))


def test_evicted_fields_are_held_no_longer() -> None:
    table = filled(3)
    table.resize(SIZE)
    assert [field is STATIC[0] for field in table.entries] == [True, True, False]


def test_the_list_of_entries_stays_as_long_as_the_table() -> None:
    table = filled(10_000, 3 * SIZE)
    assert len(table.entries) <= EVICTED_ENTRIES + 4
    assert table.first + len(table.entries) == 10_000


def test_an_encoder_s_table_knows_where_a_field_is() -> None:
    table = EncoderTable(3 * SIZE)
    for number in range(100):
        field = header(b"n" if number % 2 else b"m", bytes([0x41 + number % 26]))
        field.key = field.name + b":" + field.value
        table.add(field)
        assert table.index_of(field.key) == 62
        assert table.index_of(field.name) == 62
    entries = table.entries[int(table.base) :]
    assert [table.index_of(field.key) for field in entries] == [64, 63, 62]
    assert set(table.numbers) == {field.key for field in entries} | {b"n", b"m"}


def test_an_older_entry_that_leaves_does_not_hide_a_newer_one() -> None:
    table = EncoderTable(2 * SIZE)
    for value in b"xyx":
        field = header(b"n", bytes([value]))
        field.key = b"n:" + field.value
        table.add(field)
    assert table.index_of(b"n:x") == 62
    assert table.index_of(b"n:y") == 63
    assert table.index_of(b"n:z") == 0


def test_literals_are_bounded() -> None:
    literals = Literals(10)
    for number in range(1000):
        literals.keep(b"%d" % number, header(b"x", b"%d" % number))
    assert len(literals) <= 20
    assert literals.find(b"999") is not None
    assert literals.find(b"0") is None


def test_a_literal_that_is_asked_for_stays() -> None:
    literals = Literals(10)
    literals.keep(b"often", header(b"x", b"often"))
    for number in range(1000):
        literals.keep(b"%d" % number, header(b"x", b"%d" % number))
        assert literals.find(b"often") is not None


def test_a_secret_literal_is_not_kept() -> None:
    literals = Literals()
    literals.keep(b"literal", header(b"authorization", b"Basic abc"))
    assert literals.find(b"literal") is None

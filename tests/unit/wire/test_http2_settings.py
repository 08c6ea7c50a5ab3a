"""The peer's settings: defaults, what is taken, what is out of range."""

import pytest

from equipoise.wire.http2_errors import FLOW_CONTROL_ERROR, PROTOCOL_ERROR
from equipoise.wire.http2_settings import (
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    UNLIMITED,
    PeerSettings,
)
from tests.support.frames import raised


def payload(*values: tuple[int, int]) -> bytes:
    return b"".join(name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in values)


def read(*values: tuple[int, int], settings: PeerSettings | None = None, from_client: bool = True) -> PeerSettings:
    settings = PeerSettings() if settings is None else settings
    data = payload(*values)
    settings.read(b"before" + data + b"behind", 6, 6 + len(data), from_client)
    return settings


def all_of(settings: PeerSettings) -> tuple[object, ...]:
    return (
        settings.table_size,
        settings.max_streams,
        settings.window,
        settings.max_frame,
        settings.max_list,
        settings.extended_connect,
    )


def test_the_defaults_are_the_rfcs() -> None:
    assert all_of(read()) == (4096, UNLIMITED, 65_535, 16_384, UNLIMITED, False)


def test_each_setting_is_taken() -> None:
    settings = read(
        (HEADER_TABLE_SIZE, 0xFFFF_FFFF),
        (ENABLE_PUSH, 1),
        (MAX_CONCURRENT_STREAMS, 0),
        (INITIAL_WINDOW_SIZE, 0x7FFF_FFFF),
        (MAX_FRAME_SIZE, 0xFF_FFFF),
        (MAX_HEADER_LIST_SIZE, 0xFFFF_FFFF),
        (ENABLE_CONNECT_PROTOCOL, 1),
    )
    assert all_of(settings) == (0xFFFF_FFFF, 0, 0x7FFF_FFFF, 0xFF_FFFF, 0xFFFF_FFFF, True)


def test_the_last_of_a_name_holds() -> None:
    assert read((MAX_CONCURRENT_STREAMS, 1), (MAX_CONCURRENT_STREAMS, 2)).max_streams == 2


def test_an_unknown_name_is_ignored() -> None:
    assert all_of(read((0, 1), (7, 1), (0xFFFF, 0xFFFF_FFFF))) == all_of(PeerSettings())


def test_what_is_not_named_stays() -> None:
    settings = read((MAX_CONCURRENT_STREAMS, 7))
    read((MAX_FRAME_SIZE, 20_000), settings=settings)
    assert (settings.max_streams, settings.max_frame) == (7, 20_000)


def test_the_smallest_table_of_a_frame_is_known() -> None:
    settings = read((HEADER_TABLE_SIZE, 0), (HEADER_TABLE_SIZE, 8192))
    assert (settings.smallest_table, settings.table_size) == (0, 8192)
    read((MAX_FRAME_SIZE, 20_000), settings=settings)
    assert settings.smallest_table == 8192


def test_the_window_changes_by_the_difference() -> None:
    settings = read((INITIAL_WINDOW_SIZE, 0), (INITIAL_WINDOW_SIZE, 100))
    assert settings.window_change == 100 - 65_535
    read((INITIAL_WINDOW_SIZE, 300), settings=settings)
    assert settings.window_change == 200
    read((MAX_FRAME_SIZE, 20_000), settings=settings)
    assert settings.window_change == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (ENABLE_PUSH, 2),
        (ENABLE_PUSH, 0xFFFF_FFFF),
        (MAX_FRAME_SIZE, 0),
        (MAX_FRAME_SIZE, 16_383),
        (MAX_FRAME_SIZE, 0x100_0000),
        (MAX_FRAME_SIZE, 0xFFFF_FFFF),
        (ENABLE_CONNECT_PROTOCOL, 2),
    ],
)
def test_a_value_out_of_range_is_refused(name: int, value: int) -> None:
    assert raised(lambda: read((name, value))) == (PROTOCOL_ERROR, 0)


@pytest.mark.parametrize("value", [0x8000_0000, 0xFFFF_FFFF])
def test_a_window_too_large_is_an_error_of_flow_control(value: int) -> None:
    assert raised(lambda: read((INITIAL_WINDOW_SIZE, value))) == (FLOW_CONTROL_ERROR, 0)


def test_a_server_may_not_ask_for_pushes() -> None:
    assert raised(lambda: read((ENABLE_PUSH, 1), from_client=False)) == (PROTOCOL_ERROR, 0)
    read((ENABLE_PUSH, 0), from_client=False)


def test_extended_connect_is_not_taken_back() -> None:
    settings = read((ENABLE_CONNECT_PROTOCOL, 1))
    assert raised(lambda: read((ENABLE_CONNECT_PROTOCOL, 0), settings=settings)) == (PROTOCOL_ERROR, 0)

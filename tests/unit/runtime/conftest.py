"""Fixtures for the tests of the processes."""

import pytest

from tests.unit.runtime.parts import ReadableLog


@pytest.fixture
def log() -> ReadableLog:
    return ReadableLog()

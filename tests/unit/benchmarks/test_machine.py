import pytest
from benchmarks.machine import processor, version


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("nginx version: nginx/1.22.1\n", "1.22.1"),
        ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - a site\n", "2.6.12"),
        ("  version: 9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL\n", "1.40.0"),
        ("Version:      3.7.15\nCodename:     langres\nGo version:   go1.26.9\n", "3.7.15"),
        ("v2.11.7 h1:yj0Y4fYZGPk=\n", "2.11.7"),
        ("wrk debian/4.1.0-3+b2 [epoll] Copyright (C) 2012 Will Glozer\n", "4.1.0"),
        ("", "unknown"),
    ],
)
def test_the_version_is_found_in_what_each_program_says(text: str, number: str) -> None:
    assert version(text) == number


def test_the_processor_is_the_model_name() -> None:
    assert processor("processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nstepping\t: 1\n") == "AMD EPYC"

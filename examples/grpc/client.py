# ruff: noqa: INP001, T201  a script that stands alone and talks on standard output
"""Calls greet.Greeter/Hello ten times over one connection: python client.py [ADDRESS]."""

import sys
from typing import Any

import grpc


def main() -> None:
    """Prints each answer."""
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8080"
    channel: Any
    with grpc.insecure_channel(address) as channel:
        hello = channel.unary_unary("/greet.Greeter/Hello")
        for _ in range(10):
            print(hello(b"world", timeout=5).decode())


if __name__ == "__main__":
    main()

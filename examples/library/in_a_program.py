# ruff: noqa: D103, INP001, T201  a script that stands alone and talks on standard output
"""A balancer inside an asyncio program: `python in_a_program.py URL...`."""

import asyncio
import sys

from equipoise import Balancer


async def main(targets: list[str]) -> None:
    async with Balancer({"pools": {"default": {"targets": targets}}}) as balancer:
        print("clients connect to", balancer.url)
        await balancer.set_algorithm("response_time")
        await balancer.add_target("http://127.0.0.1:9009", name="late", state="draining")
        status = await balancer.status()
        print([target["name"] for target in status["pools"]["default"]["targets"]])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

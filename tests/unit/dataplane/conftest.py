"""The loops that the tests of forwarding run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from tests.unit.dataplane.forward_bench import Bench, Test


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Test], None]:
    """Run a test in a loop, and check at its end that everything was given back."""

    def run(test: Test) -> None:
        async def main() -> None:
            bench = Bench()
            asyncio.get_running_loop().set_exception_handler(lambda _, context: bench.faults.append(context))
            try:
                await test(bench)
                await bench.settle()
            finally:
                bench.fleet.close()
                for _ in range(3):
                    await asyncio.sleep(0)

        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    return run

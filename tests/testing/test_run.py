"""``FakeRun``, which users of Keisei test against."""

import asyncio
import subprocess
import sys

import anyio
import pytest

from keisei.errors import NotRunning
from keisei.evaluation.spec import EvaluationSpec
from keisei.testing import FakeRun
from keisei.testing.reader import STEPS

pytestmark = pytest.mark.anyio


def test_the_fake_run_loads_no_torch() -> None:
    code = "import sys, keisei.testing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_the_history_is_in_the_past() -> None:
    async with FakeRun(history=50, compile_seconds=60) as run:
        assert run.step == 50 * STEPS
        found = run.reader.metrics(["train/kl"], max_points=1000)["series"]["train/kl"]
        assert found["step"] == [STEPS * i for i in range(1, 51)]
        assert found["time"] == sorted(found["time"])


async def test_the_run_trains_nothing_when_paused_and_stops_at_the_end_of_the_block() -> None:
    async with FakeRun(compile_seconds=0, iteration_seconds=0.02) as run:
        await run.until("running")
        while run.step == 0:  # noqa: ASYNC110 (the run has no event for it)
            await anyio.sleep(0.01)
        run.submit("pause")
        step = run.step
        await anyio.sleep(0.1)  # five iterations, if it went on
        assert run.step == step
        run.submit("resume")
        while run.step == step:  # noqa: ASYNC110 (as above)
            await anyio.sleep(0.01)
        assert run.step > step
    assert run.state == "stopped"
    with pytest.raises(NotRunning):
        await run.evaluate(EvaluationSpec(opponents=("random",), games=2))


async def test_a_fake_run_may_start_in_one_task_and_close_in_another() -> None:
    run = await asyncio.create_task(FakeRun(compile_seconds=0).start())
    await asyncio.create_task(run.until("running"))
    await asyncio.create_task(run.aclose())
    assert run.state == "stopped"
    await run.aclose()

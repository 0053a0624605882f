"""A run that runs out of memory: once, and again and again."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fake_learner import FakeLearner
from run_tools import Learners, settings

from keisei import Alert, Keisei, TrainingFailed

pytestmark = pytest.mark.anyio

ERRORS = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError("an array of 2 GiB"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
)


async def train(root: Path, errors: dict[int, Exception]) -> tuple[int, list[str]]:
    """Train; the turns with these numbers raise. Returns the iterations done, and the alerts."""
    turns = 0

    def on_turn(learner: FakeLearner, turn: int) -> None:
        nonlocal turns
        turns += 1
        if error := errors.get(turns):
            raise error

    learners = Learners(on_turn=on_turn)
    async with Keisei(settings(root, steps=500), _learner=learners) as session:
        events: list[Any] = [event async for event in session.events({"alert"})]
        await session.wait()
    alerts = [e.message for e in events if isinstance(e, Alert) and e.name == "out_of_memory"]
    return learners.made[0].iteration, alerts


async def test_each_kind_of_lack_costs_one_iteration_and_one_alert(tmp_path: Path) -> None:
    done, alerts = await train(tmp_path, dict(zip((2, 9, 14), ERRORS, strict=True)))
    assert done == 5
    assert [message.partition(";")[0] for message in alerts] == [str(error) for error in ERRORS]


async def test_the_third_lack_in_succession_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="CUDA out of memory"):
        await train(tmp_path, dict.fromkeys((2, 3, 4), ERRORS[0]))


async def test_other_errors_end_the_run_at_once(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="not a lack of memory"):
        await train(tmp_path, {2: RuntimeError("not a lack of memory")})

"""NaN or an infinity in a weight, a moment or a gradient, at any moment: none is kept, and a run goes on."""

import random
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import torch as safetensors

import keisei
from keisei import Keisei, Settings, TrainingFailed
from keisei.ppo.learner import IterationReport, Learner

pytestmark = pytest.mark.anyio

STEPS = 16 * 8 * 8
TINY = {
    "device": "cpu",
    "compute.dtype": "float32",
    "compute.threads": 1,
    "run.steps": STEPS,
    "run.checkpoint_seconds": 1e-6,
    "run.checkpoints_kept": 50,
    "env.games": 8,
    "env.max_ply": 48,
    "env.reset_pool": 16,
    "net.blocks": 1,
    "net.channels": 8,
    "ppo.rollout_plies": 16,
    "ppo.minibatch": 64,
    "opponents.share": 0.25,
    "opponents.every": 2,
}
WHERE = ("weight", "moment", "gradient")
NUMBERS = (float("nan"), float("inf"), float("-inf"))


class Spoilt(Learner):
    """A learner into which a number is planted at a turn of the run, once."""

    def __init__(self, settings: Settings, chance: random.Random, where: str, turn: int) -> None:
        super().__init__(settings, torch.device("cpu"), torch.float32)
        self._chance, self._where, self._turn = chance, where, turn

    def iterate(self) -> Generator[None, None, IterationReport]:
        turns = super().iterate()
        while True:
            if self._turn == 0:
                self._plant()
            self._turn -= 1
            try:
                next(turns)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            yield

    def _plant(self) -> None:
        number = self._chance.choice(NUMBERS)
        parameters = list(self.net.parameters())
        match self._where:
            case "weight":
                _put(self._chance, self._chance.choice(parameters).detach(), number)
            case "moment":
                moments = [v for s in self.optimizer.state.values() for v in s.values()]
                _put(self._chance, self._chance.choice(moments), number)
            case "gradient":
                hook = self._chance.choice(parameters).register_hook(
                    lambda gradient: (hook.remove(), torch.full_like(gradient, number))[1]
                )


def _put(chance: random.Random, tensor: torch.Tensor, number: float) -> None:
    place = tuple(chance.randrange(size) for size in tensor.shape)
    tensor[place] = number


async def train(settings: Settings, run: Path, build: Any, *, resume: bool = False) -> list[str]:
    """The names of the alerts; how the run failed is one of them."""
    told: list[str] = []
    try:
        async with Keisei(settings, run=run, resume=resume, _learner=build) as session:
            told += [e.name async for e in session.events() if isinstance(e, keisei.Alert)]
            await session.wait()
    except TrainingFailed as failure:
        told.append(f"failed: {failure}")
    return told


def kept(run: Path) -> list[Path]:
    return sorted(run.glob("checkpoints/0*/*.safetensors"))


def not_finite(file: Path) -> bool:
    tensors = safetensors.load_file(file).values()
    return not all(bool(t.isfinite().all()) for t in tensors if t.is_floating_point())


async def spoil_one(path: Path, seed: int) -> str:
    """One run with a planted number. Where it was planted."""
    chance = random.Random(seed)
    where, turn = WHERE[seed % 3], chance.randrange(8, 40)
    reaction = chance.choice(("alert", "rollback", "stop", "ignore"))
    settings = Settings.load(None, {**TINY, "run.seed": seed, "detectors.nonfinite": reaction})
    run = path / str(seed)
    told = await train(settings, run, lambda chosen: Spoilt(chosen, chance, where, turn))
    message = f"{where} at turn {turn}, {reaction}: {told}"
    assert kept(run), message
    assert not [file for file in kept(run) if not_finite(file)], message
    if where == "gradient":
        assert "checkpoint_failed" not in told, f"it got into the moments: {message}"
    elif reaction != "ignore":
        assert told, f"nobody was told: {message}"

    def plain(chosen: Settings) -> Learner:
        return Learner(chosen, torch.device("cpu"), torch.float32)

    longer = Settings.load(None, {**TINY, "run.steps": STEPS + 256})
    again = await train(longer, run, plain, resume=True)
    assert not any("failed" in name for name in again), f"{message}; resumed: {again}"
    newest = kept(run)[-1]
    assert int(newest.parent.name) >= STEPS + 256
    assert not [file for file in kept(run) if not_finite(file)], message
    return where


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(9))
async def test_a_number_that_is_not_finite_is_in_no_checkpoint(tmp_path: Path, seed: int) -> None:
    await spoil_one(tmp_path, seed)


@pytest.mark.nightly
@pytest.mark.timeout(900)
async def test_a_hundred_numbers_that_are_not_finite_are_in_no_checkpoint(tmp_path: Path) -> None:
    places = [await spoil_one(tmp_path, seed) for seed in range(100, 200)]
    assert {where: places.count(where) for where in WHERE} == dict(
        zip(WHERE, (33, 34, 33), strict=True)
    )

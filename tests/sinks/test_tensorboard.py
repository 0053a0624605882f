"""What TensorBoard's own reader finds in the files of a run is what the database has."""

import math
from pathlib import Path

import numpy as np
import pytest
from anyio import to_thread
from run_tools import Learners

from keisei import Keisei, RunInfo, Settings, Status
from keisei.events import Iteration
from keisei.store import RunReader

pytest.importorskip("tensorboard")
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard"),
]

from keisei.sinks.tensorboard import TensorBoardSink  # noqa: E402 (needs TensorBoard)

Series = dict[str, list[tuple[int, float]]]


def read(folder: Path) -> Series:
    """Read the scalars as TensorBoard does."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    found.Reload()
    return {
        tag: [(scalar.step, scalar.value) for scalar in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def stored(folder: Path) -> Series:
    series = RunReader(folder).metrics()["series"]
    return {
        key: [(step, float(np.float32(value))) for step, value in zip(*points, strict=True)]
        for key, line in series.items()
        for points in [(line["step"], line["value"])]
    }


def iteration(step: int, **values: float) -> Iteration:
    return Iteration(run="r", step=step, time=step + 0.5, iteration=1, values=values)


def sink(folder: Path) -> TensorBoardSink:
    return TensorBoardSink(RunInfo("r", folder, Settings(), 0, lambda *alert: None))


async def test_the_files_of_a_run_equal_its_database(tmp_path: Path) -> None:
    wanted = {"run.root": tmp_path, "run.steps": 500, "plugins.sinks": "tensorboard"}
    async with Keisei(Settings.load(None, wanted), _learner=Learners()) as keisei:
        assert (await keisei.wait()).kind == "finished"
    path = keisei.run.path
    shown = await to_thread.run_sync(read, path)
    assert [step for step, _ in shown["train/kl"]] == [100, 200, 300, 400, 500]
    assert shown == await to_thread.run_sync(stored, path)


async def test_no_step_is_shown_twice_after_a_kill_and_a_resume(tmp_path: Path) -> None:
    first = sink(tmp_path)
    await first.write([iteration(step, kl=float(step)) for step in (100, 200, 300, 400)])
    # The first sink is not closed, as if its process had been killed. The checkpoint had step 200.
    second = sink(tmp_path)
    await second.write([iteration(300, kl=-3.0)])
    await second.write([iteration(400, kl=-4.0), iteration(500, kl=-5.0)])
    await second.close()
    assert read(tmp_path)["kl"] == [(100, 100), (200, 200), (300, -3), (400, -4), (500, -5)]
    await first.close()


async def test_a_resumed_run_continues_its_curves(tmp_path: Path) -> None:
    for steps, resume in ((300, False), (600, True)):
        wanted = {"run.root": tmp_path, "run.steps": steps, "plugins.sinks": "tensorboard"}
        settings = Settings.load(None, wanted)
        async with Keisei(settings, resume=resume, _learner=Learners()) as keisei:
            await keisei.wait()
    shown = await to_thread.run_sync(read, keisei.run.path)
    assert shown == await to_thread.run_sync(stored, keisei.run.path)
    assert len(shown["train/kl"]) == 6


async def test_after_a_full_disk_the_batch_is_written_again_and_shown_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    mine, write = sink(tmp_path), RecordWriter.write
    await mine.write([iteration(100, kl=1.0)])
    batch = [iteration(200, kl=2.0), iteration(300, kl=3.0)]
    calls = iter([None, OSError("No space left on device")])

    def fail_at_the_second(self: RecordWriter, data: bytes) -> None:
        if problem := next(calls):
            self._writer.write(data[:7])
            raise problem
        write(self, data)

    monkeypatch.setattr(RecordWriter, "write", fail_at_the_second)
    with pytest.raises(OSError, match="No space"):
        await mine.write(batch)
    monkeypatch.undo()
    await mine.write(batch)
    await mine.close()
    assert read(tmp_path)["kl"] == [(100, 1), (200, 2), (300, 3)]


async def test_nan_is_a_value_and_a_run_without_iterations_makes_no_file(tmp_path: Path) -> None:
    mine = sink(tmp_path)
    await mine.write([Status(run="r", step=0, time=0, kind="started", state="starting")])
    assert not (tmp_path / "tensorboard").exists()
    await mine.write([iteration(1, kl=math.nan)])
    await mine.close()
    ((step, value),) = read(tmp_path)["kl"]
    assert (step, math.isnan(value)) == (1, True)

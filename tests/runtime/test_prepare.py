"""What is decided, checked and reported before a run starts."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
import torch
from anyio import to_thread
from run_tools import Learners, settings, tiny, until

from keisei import Alert, Iteration, Keisei, Settings, Status
from keisei.config import Run, SettingsError
from keisei.store import (
    CheckpointError,
    RunDirectory,
    save_checkpoint,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        ({"strategy": "best"}, "evaluation.strategy: 'best' is not one of single"),
        (
            {"opponents": ["materail"]},
            "evaluation.opponents: materail: no such file or folder, did",
        ),
        ({"opponents": ["fairi"], "engines": {"fairy": "usi:x?nodes=1"}}, "did you mean fairy?"),
        (
            {"engines": {"a": "usi:x?nodes=many"}},
            "evaluation.engines.a: nodes: must be a whole number",
        ),
    ],
)
async def test_settings_of_evaluations_that_could_not_begin_are_refused_before_there_is_a_run(
    tmp_path: Path, evaluation: dict[str, Any], message: str
) -> None:
    wrong = Settings(run=Run(root=tmp_path), evaluation=evaluation)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=message):
        async with Keisei(wrong, _learner=Learners()):
            raise AssertionError("entered")
    assert await to_thread.run_sync(os.listdir, tmp_path) == []


@pytest.mark.parametrize(
    ("plugins", "message"),
    [
        ({"sinks": ["tensorbord"]}, "plugins.sinks: 'tensorbord' .*did you mean tensorboard?"),
        ({"callbacks": ["mine"]}, "plugins.callbacks: 'mine' is not"),
    ],
)
async def test_plugins_that_are_not_installed_are_refused_before_there_is_a_run(
    tmp_path: Path, plugins: dict[str, Any], message: str
) -> None:
    wrong = Settings(run=Run(root=tmp_path), plugins=plugins)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=message):
        async with Keisei(wrong, _learner=Learners()):
            raise AssertionError("entered")
    assert await to_thread.run_sync(os.listdir, tmp_path) == []


async def test_a_run_whose_plugin_is_gone_is_resumed_only_without_the_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Settings(run=Run(root=tmp_path), plugins={"sinks": ["gone"]})  # type: ignore[arg-type]
    monkeypatch.setattr("keisei.runtime.prepare.check_names", lambda settings: None)
    async with Keisei(gone, _learner=Learners()) as keisei:
        await until(keisei, Status, kind="running")
    monkeypatch.undo()
    with pytest.raises(SettingsError, match="'gone' is not one of"):
        async with Keisei(gone, run=keisei.run.path, resume=True, _learner=Learners()):
            raise AssertionError("entered")
    without = Settings.load(None, {"run.root": tmp_path, "plugins.sinks": "[]"})
    async with Keisei(without, run=keisei.run.path, resume=True, _learner=Learners()) as keisei:
        assert keisei.settings.plugins.sinks == ()


async def test_initial_weights_of_another_network_are_refused_before_there_is_a_run(
    tmp_path: Path,
) -> None:
    def make() -> Path:
        wanted = settings(tmp_path)
        with RunDirectory.create(wanted, tmp_path / "other") as run:
            weights = {"weights": {"w": torch.tensor([1.0])}}
            good = {"net": wanted.net.model_dump()}
            save_checkpoint(run, 1, weights, good)
            path = save_checkpoint(run, 2, weights, good)
            (path / "weights.safetensors").write_bytes(b"x")
        with RunDirectory.create(wanted, tmp_path / "bigger") as run:
            bad = {"net": wanted.net.model_dump() | {"channels": 64}}
            save_checkpoint(run, 1, weights, bad)
        return tmp_path

    await to_thread.run_sync(make)
    keisei = Keisei(settings(tmp_path / "runs"), init=tmp_path / "bigger", _learner=Learners())
    with pytest.raises(CheckpointError, match=r"'channels': 64.*'channels': 32"):
        async with keisei:
            raise AssertionError("entered")
    assert not await anyio.Path(tmp_path / "runs").exists()
    keisei = Keisei(settings(tmp_path / "runs"), init=tmp_path / "other", _learner=Learners())
    async with keisei:
        alert = await until(keisei, Alert)
        assert "refused" in alert.message
        assert "damaged" in alert.message


async def test_what_is_chosen_for_the_machine_is_in_the_status(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path, **{"run.steps": 1, "compute.dtype": "auto"})) as keisei:
        events = [e async for e in keisei.events({"status"}) if isinstance(e, Status)]
    (running,) = [event.message for event in events if event.kind == "running"]
    chosen = keisei.settings
    assert "auto" not in {chosen.device, chosen.compute.dtype}
    assert running == f"on {chosen.device}, {chosen.compute.dtype}, 1 thread"
    assert keisei.status().threads == 1


async def test_the_newest_run_is_resumed_and_its_database_continues(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path, **{"run.steps": 256})) as keisei:
        await keisei.wait()
    newer = await to_thread.run_sync(RunDirectory.create, keisei.settings, tmp_path / "newer")
    newer.close()
    async with Keisei(tiny(tmp_path, **{"run.steps": 512}), resume=True) as again:
        assert again.run.path == keisei.run.path
        alert = await until(again, Alert)
        assert alert.message == f"{newer.path} was not resumed: it has no checkpoint"
        await again.wait()
    metrics = await to_thread.run_sync(again.reader.metrics)
    assert metrics["series"]["train/kl"]["step"] == [128, 256, 384, 512]
    games = await to_thread.run_sync(again.reader.games)
    assert games
    assert len({game["id"] for game in games}) == len(games)


async def test_auto_makes_the_run_then_begins_it_again_and_then_continues_it(
    tmp_path: Path,
) -> None:
    """So one command can start a run and restart it after a crash at any moment."""
    run = tmp_path / "run"
    never = {"run.checkpoint_seconds": 1000}
    async with Keisei(tiny(tmp_path, **never), run=run, resume="auto") as keisei:
        await until(keisei, Iteration)
        keisei.stop()
    for checkpoint in await to_thread.run_sync(list, (run / "checkpoints").iterdir()):
        await to_thread.run_sync(shutil.rmtree, checkpoint)  # as if it had crashed before the first

    async with Keisei(tiny(tmp_path, **{"run.steps": 256}), run=run, resume="auto") as again:
        alert = await until(again, Alert)
        assert alert.message == "the run has no checkpoint yet: it begins again at step 0"
        await again.wait()
    series = (await to_thread.run_sync(again.reader.metrics))["series"]["train/kl"]
    assert series["step"] == [128, 256], "the metrics of the first attempt are gone"

    async with Keisei(tiny(tmp_path, **{"run.steps": 384}), run=run, resume="auto") as third:
        assert third.status().step == 256
        await third.wait()


async def test_auto_continues_the_newest_run_that_has_a_checkpoint(tmp_path: Path) -> None:
    async with Keisei(tiny(tmp_path, **{"run.steps": 128}), resume="auto") as keisei:
        await keisei.wait()
    async with Keisei(tiny(tmp_path, **{"run.steps": 256}), resume="auto") as again:
        assert again.run.path == keisei.run.path
        await again.wait()


WORKER = """
import asyncio, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fake_learner import FakeLearner
from keisei import Keisei, Settings
from keisei.config import Run

async def train():
    run = Path(sys.argv[3]) if sys.argv[3] else None
    settings = Settings(run=Run(root=Path(sys.argv[2])))
    async with Keisei(settings, run=run, _learner=FakeLearner) as keisei:
        await anext(keisei.events({"metrics"}))
        alerts = [event["message"] for event in keisei.history() if event["event"] == "alert"]
        print(json.dumps(alerts), flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(train())
"""


def worker(root: Path, run: str = "", *, shell: bool = False) -> "subprocess.Popen[str]":
    """Start a process that trains until its standard input closes, from us or from a shell."""
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", WORKER, here, str(root), run]
    if shell:
        command = ["bash", "-c", '"$@"; exit $?', "bash", *command]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)


def alerts_of(process: "subprocess.Popen[str]") -> list[str]:
    """Wait until a worker trains; return the messages of its alerts."""
    assert process.stdout is not None
    found: list[str] = json.loads(process.stdout.readline())
    return found


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_second_worker_of_one_server_gets_an_alert_that_it_trains_a_run_of_its_own(
    tmp_path: Path,
) -> None:
    with ExitStack() as workers:

        def start(run: str = "", *, shell: bool = False) -> "subprocess.Popen[str]":
            process = workers.enter_context(worker(tmp_path, run, shell=shell))
            assert process.stdin is not None
            workers.callback(process.stdin.close)
            return process

        assert alerts_of(start()) == []
        second, others = start(), [start(shell=True), start(str(tmp_path / "named"))]
        said = "another process of the same server trains"
        assert any(said in alert for alert in alerts_of(second))
        assert [alerts_of(other) for other in others] == [[], []]

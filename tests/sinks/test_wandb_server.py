"""W&B's real client sends a run to a server: a stand-in for W&B's own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from run_tools import Learners
from wandb_server import ServedRun, WandbServer, wandb_server

from keisei import Keisei, Settings

pytestmark = [pytest.mark.anyio, pytest.mark.nightly, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sys.executable).parent
TINY = {
    "KEISEI_ENV__GAMES": "8",
    "KEISEI_ENV__RESET_POOL": "16",
    "KEISEI_NET__CHANNELS": "8",
    "KEISEI_PPO__ROLLOUT_PLIES": "8",
    "KEISEI_PPO__MINIBATCH": "64",
    "KEISEI_EVALUATION__GAMES": "2",
    "KEISEI_EVALUATION__MAX_PLY": "16",
}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    with wandb_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        yield server


async def train(root: Path, mode: str, steps: int, **options: Any) -> Keisei:
    keys = {"run.root": root, "run.steps": steps, "run.checkpoint_seconds": 1e-6}
    settings = Settings.load(None, keys | {"wandb.mode": mode})
    async with Keisei(settings, _learner=Learners(), **options) as keisei:
        await keisei.wait()
    return keisei


async def train_kill_and_resume(root: Path, mode: str) -> Keisei:
    """Train to step 500, lose the checkpoints after step 200, and resume to step 800."""
    first = await train(root, mode, 500)
    for newer in sorted(first.run.path.glob("checkpoints/*"))[2:]:
        shutil.rmtree(newer)
    return await train(root, mode, 800, run=first.run.path, resume=True)


async def check_curves(run: ServedRun, keisei: Keisei) -> None:
    """Fail if the server's rows are not the database's, each step once."""
    series = (await to_thread.run_sync(keisei.reader.metrics))["series"]
    assert [row["train/step"] for row in run.rows] == list(range(100, 900, 100))
    assert [row["train/step"] for row in run.rows] == series["train/kl"]["step"]
    assert [row["train/kl"] for row in run.rows] == series["train/kl"]["value"]
    assert run.summary["state"] == "finished"
    assert run.summary["train/step"] == 800
    assert run.exit_code == 0


def command(*words: str | Path, folder: Path, **more: str) -> str:
    """Run a command of W&B; return its output."""
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [SCRIPTS / "wandb", *words],
        cwd=folder,
        env=os.environ | {"PATH": path} | more,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


async def test_an_online_run_and_its_resumption_are_one_run_with_each_step_once(
    server: WandbServer, tmp_path: Path
) -> None:
    keisei = await train_kill_and_resume(tmp_path, "online")
    [run] = server.runs.values()
    await check_curves(run, keisei)
    assert run.project == "keisei"
    assert run.fields["displayName"] == keisei.run.id
    assert run.config["run"]["steps"] == 800
    assert not list(keisei.run.path.glob("wandb/offline-run-*"))


async def test_offline_runs_are_synced_as_one_run_with_the_guides_command(
    server: WandbServer, tmp_path: Path
) -> None:
    keisei = await train_kill_and_resume(tmp_path, "offline")
    assert server.runs == {}
    folders = sorted(keisei.run.path.glob("wandb/offline-run-*"))
    assert len(folders) == 2
    [id] = {folder.name.rpartition("-")[2] for folder in folders}
    await to_thread.run_sync(lambda: command("sync", "--id", id, *folders, folder=tmp_path))
    [run] = server.runs.values()
    assert run.name == id
    await check_curves(run, keisei)


async def test_an_agent_trains_with_the_settings_that_the_sweep_chose(
    server: WandbServer, tmp_path: Path
) -> None:
    sweep = ROOT / "configs/sweep.yaml"
    chosen = {"ppo.epochs": 2, "net.blocks": 1, "wandb.mode": "online", "run.minutes": 0.3}
    chosen |= {"evaluation.every_minutes": 0.05, "evaluation.promotion_games": 0}
    values = {name: {"value": value} for name, value in chosen.items()}
    server.commands = [{"type": "run", "run_id": "try1", "program": "keisei", "args": values}]

    def work() -> str:
        made = command("sweep", "--project", "keisei", sweep, folder=tmp_path)
        assert "wandb agent lab/keisei/sweep" in made
        more = TINY | {"WANDB_AGENT_DISABLE_FLAPPING": "true"}
        return command("agent", "--count", "1", "lab/keisei/sweep", folder=tmp_path, **more)

    output = await to_thread.run_sync(work)
    assert server.runs.keys() == {"try1"}, output
    run = server.runs["try1"]
    assert run.fields["sweep"] == "sweep"
    assert (run.config["ppo"]["epochs"], run.config["net"]["blocks"]) == (2, 1)
    assert 0 <= run.summary["eval/score"] <= 1
    assert run.summary["state"] == "finished"
    assert run.exit_code == 0

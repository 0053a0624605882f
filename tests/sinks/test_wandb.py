"""A run in W&B: what it contains, and what a server that does not answer does to the run."""

import contextlib
import logging
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
import yaml
from anyio import to_thread
from fake_learner import FakeLearner
from run_tools import Gate, Learners, becomes, until, until_step
from wandb_files import WandbRun, read_wandb

import keisei.sinks.wandb as sink_module
from keisei import Alert, Iteration, Keisei, Settings
from keisei.cli.settings import take_overrides
from keisei.evaluation.spec import EvaluationSpec
from keisei.play.archive import Archive
from keisei.runtime import life

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
KEY = "0123456789012345678901234567890123456789"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))  # no API key of the person who runs the tests
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staging"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))


def offline(path: Path, **more: Any) -> Settings:
    keys = {"run.root": path, "run.steps": 500, "run.checkpoint_seconds": 1e-6}
    return Settings.load(None, keys | {"wandb.mode": "offline"} | more)


def logged(run: Path) -> list[WandbRun]:
    """What W&B wrote in a run's folder, oldest first. A resumed run has several files."""
    return [read_wandb(file) for file in sorted(run.glob("wandb/offline-run-*/*.wandb"))]


def steps(*runs: WandbRun) -> list[int]:
    return [row["train/step"] for run in runs for row in run.rows if "train/step" in row]


async def has_step(keisei: Keisei, step: int) -> bool:
    """Whether W&B has written the row of a step."""
    return step in steps(*await to_thread.run_sync(logged, keisei.run.path))


async def train(settings: Settings, **options: Any) -> Path:
    async with Keisei(settings, _learner=Learners(), **options) as keisei:
        await keisei.wait()
    return keisei.run.path


# ---------------------------------------------------------------------- what W&B gets
async def evaluated(settings: Settings) -> tuple[Keisei, dict[str, Any]]:
    """Train, evaluate the network, and stop. Return the ended run and the evaluation."""
    spec = EvaluationSpec(agents=("current",), opponents=("random",), games=2, max_ply=16)
    async with Keisei(settings, _learner=Learners()) as keisei:
        await until_step(keisei, 200)
        handle = await keisei.evaluate(spec)
        ended = await handle.result()
        await until(keisei, Iteration)
        keisei.stop()
        await keisei.wait()
    return keisei, ended


async def test_an_offline_run_has_the_metrics_of_the_database_and_artifacts(
    tmp_path: Path,
) -> None:
    more: dict[str, Any] = {
        "wandb.group": "night",
        "wandb.tags": "a,b",
        "run.minutes": 9,
        "run.steps": 0,
    }
    more |= {"wandb.artifacts": "true"}
    keisei, ended = await evaluated(offline(tmp_path, **more))
    [run] = await to_thread.run_sync(logged, keisei.run.path)
    series = (await to_thread.run_sync(keisei.reader.metrics))["series"]
    rows = [row for row in run.rows if "train/step" in row]
    assert len(rows) == len(series["train/kl"]["value"]) > 2
    assert [row["train/step"] for row in rows] == series["train/kl"]["step"]
    for name in series.keys() - {"eval/score", "eval/elo"}:
        assert [row[name] for row in rows] == series[name]["value"], name
    [evaluation] = [row for row in run.rows if "eval/step" in row]
    assert evaluation["eval/step"] == ended["measured"]
    assert evaluation["eval/score"] == run.summary["eval/score"] == ended["result"]["score"]
    assert run.axes.pop("eval/*") == "eval/step"
    assert set(run.axes.values()) == {"train/step"}
    assert run.config["run"]["minutes"] == 9
    assert run.config["wandb"]["tags"] == ["a", "b"] == run.tags
    assert (run.project, run.group, run.name) == ("keisei", "night", keisei.run.id)
    assert run.summary["train/step"] == rows[-1]["train/step"]
    assert (run.summary["state"], run.exit_code) == ("stopped", 0)
    artifacts = {kind: files for kind, _, files in run.artifacts}
    assert "weights.safetensors" in artifacts["model"]
    assert artifacts["ratings"] == ["ratings.table.json"]


async def test_evaluations_of_the_command_line_are_logged_after_the_next_checkpoint(
    tmp_path: Path,
) -> None:
    gate = Gate(iteration=3)
    async with Keisei(offline(tmp_path), _learner=Learners(on_turn=gate)) as keisei:
        await gate.reached()
        [newest, *_] = await to_thread.run_sync(keisei.reader.checkpoints)
        spec = EvaluationSpec(agents=(newest["path"],), opponents=("random",), games=2)
        archive = await to_thread.run_sync(Archive.begin, keisei.run.path, spec)
        result = {"score": 0.75, "elo": 190.8, "games": 2}
        await to_thread.run_sync(archive.end, "done", {"result": result})
        gate.open()
        await keisei.wait()
    [run] = logged(keisei.run.path)
    [row] = [row for row in run.rows if "eval/step" in row]
    assert (row["eval/step"], row["eval/score"]) == (newest["step"], 0.75)


async def test_a_failed_run_is_failed_in_w_and_b_too(tmp_path: Path) -> None:
    def fail(learner: FakeLearner, turn: int) -> None:
        if learner.iteration == 2:
            raise ArithmeticError("broken")

    session = Keisei(offline(tmp_path), _learner=Learners(on_turn=fail))
    with pytest.raises(Exception, match="broken"):
        async with session:
            await session.wait()
    [run] = logged(session.run.path)
    assert (run.exit_code, run.summary["state"]) == (1, "failed")


# ---------------------------------------------------------------------- kill and resume
async def test_a_resumed_run_continues_the_w_and_b_run_and_logs_no_step_twice(
    tmp_path: Path,
) -> None:
    first = await train(offline(tmp_path))
    for newer in sorted(first.glob("checkpoints/*"))[2:]:  # as if it had been killed at step 500
        shutil.rmtree(newer)
    more = offline(tmp_path, **{"run.steps": 800})
    async with Keisei(more, run=first, resume=True, _learner=Learners()) as keisei:
        begun = keisei.status().step
        await keisei.wait()
    runs = logged(first)
    assert begun < 500
    assert len({run.id for run in runs}) == 1
    assert steps(*runs) == [100, 200, 300, 400, 500, 600, 700, 800]


async def test_w_and_b_s_process_that_is_killed_is_started_again(tmp_path: Path) -> None:
    async with Keisei(offline(tmp_path, **{"run.steps": 0}), _learner=Learners()) as keisei:
        await becomes(partial(has_step, keisei, 300))
        [process] = psutil.Process().children()
        process.kill()
        await until(keisei, Alert, name="sink wandb")
        await until_step(keisei, keisei.status().step + 200)
        keisei.stop()
        await keisei.wait()
    first, second = await to_thread.run_sync(logged, keisei.run.path)
    assert first.id == second.id
    assert sorted(set(steps(first, second))) == steps(first, second)
    assert steps(second)[-1] == keisei.status().step
    assert psutil.Process().children() == []


# ---------------------------------------------------------------------- servers
def hang(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


def refuse_all(connection: socket.socket) -> None:
    while connection.recv(65_536):
        connection.sendall(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n")


def drip(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    for _ in range(100):
        time.sleep(0.3)
        connection.sendall(b"x")


@contextlib.contextmanager
def serving(answer: Callable[[socket.socket], None] | None) -> Iterator[str]:
    """The address of a server that answers each connection so; None refuses connections."""
    server = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{server.getsockname()[1]}"

    def one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            assert answer
            answer(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    if answer is None:
        server.close()
    else:
        threading.Thread(target=accept, daemon=True).start()
    try:
        yield address
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()


SERVERS = {"refusing": None, "hanging": hang, "failing": refuse_all, "slow": drip}


async def goes_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[[socket.socket], None] | None
) -> float:
    """Train with a server that gives no useful answer; return the seconds until the alert."""
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    settings = offline(tmp_path, **{"wandb.mode": "online", "run.steps": 0})
    with serving(answer) as address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        async with Keisei(settings, _learner=Learners()) as keisei:
            began = time.monotonic()
            alert = await until(keisei, Alert, name="wandb")
            waited = time.monotonic() - began
            step = keisei.status().step
            await until_step(keisei, step + 200)
            keisei.stop()
            began = time.monotonic()
            await keisei.wait()
    assert time.monotonic() - began < sink_module.FINISH_SECONDS + 3
    assert "logged offline" in alert.message
    assert "wandb sync" in alert.message
    assert KEY not in alert.message
    assert step > 0, "training did not wait"
    [*_, run] = logged(keisei.run.path)
    assert run.id in (keisei.run.path / "wandb.json").read_text()
    assert steps(run)[:2] == [100, 200]
    assert psutil.Process().children() == []
    found = [file for file in keisei.run.path.rglob("*") if file.is_file()]
    assert not [file for file in found if KEY.encode() in file.read_bytes()]
    return waited


async def test_a_refusing_server_makes_the_run_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_module, "START_SECONDS", 3.0)
    await goes_offline(tmp_path, monkeypatch, None)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", SERVERS)
async def test_every_useless_server_makes_the_run_offline_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    waited = await goes_offline(tmp_path, monkeypatch, SERVERS[kind])
    print(f"{kind}: offline after {waited:.1f} s")
    assert waited < sink_module.START_SECONDS + 5  # the start of the process that logs offline


async def test_without_an_api_key_the_run_is_logged_offline(tmp_path: Path) -> None:
    settings = offline(tmp_path, **{"wandb.mode": "online", "run.steps": 0})
    async with Keisei(settings, _learner=Learners()) as keisei:
        alert = await until(keisei, Alert, name="wandb")
    assert "API key" in alert.message


async def test_a_process_that_hangs_at_the_end_is_abandoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(life, "CLOSE_SECONDS", 0.5)
    settings = offline(tmp_path, **{"run.steps": 0})
    with caplog.at_level(logging.WARNING, "keisei.sinks.wandb"):
        async with Keisei(settings, _learner=Learners()) as keisei:
            await becomes(partial(has_step, keisei, 300))
            [process] = psutil.Process().children()
            process.send_signal(signal.SIGSTOP)
    assert f"wandb sync {keisei.run.path}" in caplog.text
    assert not process.is_running()


# ---------------------------------------------------------------------- cost
@pytest.mark.nightly
@pytest.mark.timeout(400)
async def test_training_beside_a_hanging_server_is_as_fast_as_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs of runs in turn: with a server that hangs, and without W&B."""
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    ratios = []
    with serving(hang) as address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        for pair in range(5):
            speeds = {}
            for mode in ("online", "disabled") if pair % 2 else ("disabled", "online"):
                keys = {"wandb.mode": mode, "run.steps": 0, "run.checkpoint_seconds": 1000}
                learners = Learners(seconds=0.05)  # five iterations a second
                async with Keisei(offline(tmp_path, **keys), _learner=learners) as keisei:
                    await until_step(keisei, 100)
                    begin, began = keisei.status().step, time.monotonic()
                    await anyio.sleep(20)
                    speeds[mode] = (keisei.status().step - begin) / (time.monotonic() - began)
            ratios.append(speeds["online"] / speeds["disabled"])
    print("steps/s with W&B / without:", [round(ratio, 4) for ratio in ratios])
    assert sorted(ratios)[len(ratios) // 2] >= 0.99


# ---------------------------------------------------------------------- sweeps
def test_the_flags_of_the_sweep_file_are_settings() -> None:
    """The agent turns each parameter into a flag. Here each has one of its values."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    sweep = yaml.safe_load((ROOT / "configs/sweep.yaml").read_text())
    chosen = {name: values(spec)[0] for name, spec in sweep["parameters"].items()}
    flags = create_sweep_command_args({"args": {k: {"value": v} for k, v in chosen.items()}})
    words, overrides = take_overrides(["train", "--config", "quickstart", *flags["args"]])
    settings = Settings.load(ROOT / "configs/quickstart.toml", overrides)
    assert words == sweep["command"][2:-1]
    for name, value in chosen.items():
        section, _, key = name.partition(".")
        assert getattr(getattr(settings, section), key) == value
    assert settings.wandb.mode == "online"
    assert 0 < settings.evaluation.every_minutes < settings.run.minutes
    assert sweep["metric"]["name"] == "eval/score"


def values(spec: dict[str, Any]) -> list[Any]:
    return spec.get("values") or [spec.get("value", spec.get("min"))]

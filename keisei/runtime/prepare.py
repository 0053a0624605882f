"""Opens a run's directory and database, and finds the checkpoint, before any thread starts."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

# This import is here because a later import fails if the process has no free file descriptor. Then
# no checkpoint could be saved.
import safetensors.torch  # noqa: F401
import torch

from keisei.config import Settings, SettingsError
from keisei.nets.policy import DeviceError, resolve_device, resolve_dtype
from keisei.nets.registry import check
from keisei.ppo.checkpoint import check_format
from keisei.ppo.ranks import CONTEXT_RANKS, Ranks
from keisei.process import openmp_is_set
from keisei.resources import player_folder
from keisei.runtime.learners import build_learner, check_fits
from keisei.runtime.plan import RunPlan, RunRequest, StartPoint
from keisei.sinks.registry import check_names
from keisei.store import (
    SETTINGS_FILE,
    CheckpointError,
    DamagedCheckpointError,
    Database,
    RunDirectory,
    RunError,
    RunReader,
    find_checkpoint,
    resumed_settings,
)
from keisei.store.checkpoints import read_state
from keisei.store.directory import settings_text
from keisei.store.layout import LOCK_FILE
from keisei.store.lock import holder_pid
from keisei.store.manifest import read_manifest

SPINNING = (
    "OpenMP's threads spin while they wait: training is several times slower if other programs use "
    "the same processors. Call keisei.prepare_process() before importing torch, or set "
    "GOMP_SPINCOUNT"
)


def open_run(request: RunRequest) -> RunPlan:
    """Open or create a run's directory and database; return the plan of the run. Blocks.

    Raises RunError, RunLockedError, CheckpointError, DatabaseError, DeviceError, NetError,
    SettingsError, OSError.
    """
    ranks = CONTEXT_RANKS.get()
    settings = request.settings
    settings_text(settings)  # raises SettingsError before a folder is made
    _check_evaluation(settings)
    check_names(settings)
    opened = _resume(request, ranks) if _resumes(request) else _create(request, ranks)
    if opened.settings.device == "cpu" and _spins(opened.settings):
        opened.remarks.append(SPINNING)
    try:
        return _plan(request, opened, ranks)
    except BaseException:
        opened.run.close()
        raise


def _resumes(request: RunRequest) -> bool:
    """Return whether to continue an existing run. With ``auto``, there must be one."""
    if request.resume != "auto":
        return request.resume
    if request.run is not None:
        return (request.run / SETTINGS_FILE).exists()
    try:
        RunDirectory.newest(request.settings.run.root)
    except RunError:  # no run has a checkpoint
        return False
    return True


@dataclass(slots=True)
class _Opened:
    """A run directory that this process has locked, and the point where training begins."""

    settings: Settings
    run: RunDirectory
    start: StartPoint
    remarks: list[str]
    resumed: Path | None = None
    init: Path | None = None


def _create(request: RunRequest, ranks: Ranks) -> _Opened:
    """Create a new run."""
    settings, init = request.settings, None
    remarks: list[str] = []
    if request.init:
        init, remarks = _origin(player_folder(request.init), settings)
    if request.build is None:  # a substitute learner needs no automatic choices
        settings = decide(settings)
    _check_device(settings, ranks)
    run = RunDirectory.create(settings, request.run)
    if request.run is None and ranks.size == 1:
        remarks += _other_workers(run.path)
    return _Opened(settings, run, StartPoint(), remarks, init=init)


def _resume(request: RunRequest, ranks: Ranks) -> _Opened:
    """Open an existing run. The run keeps its settings, except those that a resume may change."""
    path, remarks = request.run, list[str]()
    if path is None:
        path, skipped = RunDirectory.newest(request.settings.run.root)
        remarks = [f"{newer} was not resumed: it has no checkpoint" for newer in skipped]
    run = RunDirectory.open(path)
    try:
        settings, ignored = resumed_settings(run.settings, request.settings)
        check_names(settings)
        run.settings = settings
        remarks += [f"{key} was ignored: the run keeps its own value" for key in ignored]
        if request.resume == "auto" and not run.checkpoints():
            remarks.append("the run has no checkpoint yet: it begins again at step 0")
            return _Opened(settings, run, StartPoint(), remarks)
        # A substitute learner has a network of its own, of which nothing is known here.
        fits = partial(check_fits, settings) if request.build is None else lambda path: None
        checkpoint, refused = find_checkpoint(run.path, check=fits)
        remarks += [f"refused: {error}" for error in refused]
        return _Opened(settings, run, _start(checkpoint, ranks), remarks, resumed=checkpoint)
    except BaseException:
        run.close()
        raise


def _plan(request: RunRequest, opened: _Opened, ranks: Ranks) -> RunPlan:
    """Open the database, remove the rows of steps after the start point, and return the plan."""
    run, start = opened.run, opened.start
    database = Database(run.database)
    try:
        evaluations = _evaluations(run, database, start.step)
    except BaseException:
        database.close()
        raise
    return RunPlan(
        settings=opened.settings,
        run=run,
        database=database,
        resumed=opened.resumed,
        init=opened.init,
        start=start,
        evaluations=evaluations,
        remarks=tuple(opened.remarks),
        keep_serving=request.keep_serving,
        build=request.build or partial(build_learner, ranks=ranks),
        ranks=ranks,
    )


def _spins(settings: Settings) -> bool:
    return settings.compute.threads > 1 and not openmp_is_set()


def _origin(init: Path, settings: Settings) -> tuple[Path, list[str]]:
    """Return the checkpoint that gives the first weights, and remarks about refused checkpoints."""
    origin, refused = find_checkpoint(init)
    _check_net(origin, settings)
    return origin, [f"refused: {error}" for error in refused]


def _evaluations(directory: RunDirectory, database: Database, step: int) -> list[dict[str, Any]]:
    """Remove the database's rows of steps after ``step``; return the run's evaluations."""
    database.check()
    database.truncate_after(step)
    return RunReader(directory.path).evaluations()


def _other_workers(path: Path) -> list[str]:
    """Return remarks about runs that other worker processes of the same server train.

    The worker processes of one server (``gunicorn -w 2``) run the same program as their parent.
    Runs that a shell starts give no remarks, because their parent, the shell, is another program.
    """
    try:
        parent = psutil.Process().parent()
        if parent is None or parent.exe() != psutil.Process().exe():
            return []
        siblings = {child.pid for child in parent.children()} - {os.getpid()}
        locks = [lock for lock in path.parent.glob(f"*/{LOCK_FILE}") if lock.parent != path]
        others = [lock.parent for lock in locks if holder_pid(lock) in siblings]
    except (OSError, psutil.Error):  # a process or a run ended meanwhile
        return []
    return [
        f"another process of the same server trains {other}: start the server with one worker "
        "process, or set one run directory for all processes: only one process can lock it"
        for other in others
    ]


def _start(checkpoint: Path, ranks: Ranks) -> StartPoint:
    """Return the point where a resumed run continues.

    Raises CheckpointError if the checkpoint contains only weights, or was saved by a
    different number of ranks.
    """
    manifest, state = read_manifest(checkpoint), read_state(checkpoint)
    if state.get("format") == "weights":
        raise CheckpointError(f"{checkpoint}: contains only weights: begin a new run with --init")
    if "format" in state:  # a substitute learner has formats of its own
        try:
            check_format(state)
        except ValueError as error:
            raise CheckpointError(f"{checkpoint}: {error}") from None
    before = state.get("ranks", 1)
    if before != ranks.size:
        how = f"with torchrun --nproc-per-node {before}" if before > 1 else "without torchrun"
        raise CheckpointError(
            f"{checkpoint}: number of ranks: {before} when it was saved, {ranks.size} now; the "
            f"numbers must be equal: resume {how}, or begin a new run from these weights with --init"
        )
    iteration, elapsed = state.get("iteration"), state.get("elapsed_seconds")
    if not isinstance(iteration, int) or not isinstance(elapsed, int | float):
        raise DamagedCheckpointError(
            f"{checkpoint}: its state does not give the iteration and the time of training"
        )
    return StartPoint(manifest["step"], iteration, elapsed, manifest["created"])


def _check_evaluation(settings: Settings) -> None:
    """Check the settings of evaluations before the run starts. Raises SettingsError."""
    from keisei.runtime.regular import check_players, regular_spec
    from keisei.usi import EngineSpec, EngineSpecError

    where = ""
    try:
        check_players(settings)
        regular_spec(settings)
        for name, text in settings.evaluation.engines.items():
            where = f"evaluation.engines.{name}"
            EngineSpec.parse(text)
    except EngineSpecError as error:
        raise SettingsError(f"{where}: {error}") from error
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _check_device(settings: Settings, ranks: Ranks) -> None:
    """Raise DeviceError if several ranks train on a device other than ``cpu`` or ``cuda:0``."""
    if ranks.size > 1 and settings.device not in {"cpu", "cuda:0"}:
        raise DeviceError(
            f"device: {settings.device} is not possible, because each of the {ranks.size} ranks uses "
            "the GPU of its own number: set device to cuda, and choose the GPUs with CUDA_VISIBLE_DEVICES"
        )


def _check_net(checkpoint: Path, settings: Settings) -> None:
    """Raise CheckpointError if the checkpoint's network differs from the settings' network."""
    wanted = settings.net.model_dump()
    found = read_state(checkpoint).get("net")
    if found != wanted:
        named = found if isinstance(found, dict) else {}
        fitting = "".join(f" --net.{key} {value}" for key, value in named.items())
        raise CheckpointError(
            f"{checkpoint}: its network is {found}; the settings ask for {wanted}"
            + (f"; these fit:{fitting}" if fitting else "")
        )


def decide(settings: Settings) -> Settings:
    """Return the settings with values that fit this machine instead of ``auto`` and 0 threads.

    These values are chosen once and stored in ``run.toml``, because a resumed run must compute with
    the same values. Raises DeviceError, NetError.
    """
    check(**settings.net.model_dump())
    device = resolve_device(settings.device)
    dtype = str(resolve_dtype(settings.compute.dtype, device)).removeprefix("torch.")
    threads = settings.compute.threads or torch.get_num_threads()
    compute = settings.compute.model_copy(update={"dtype": dtype, "threads": threads})
    return settings.model_copy(update={"device": str(device), "compute": compute})

"""From what a user asked for to a run directory that is ours, before any thread starts."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

# Saving a checkpoint imports it: later there might be no file descriptor left for that.
import safetensors.torch  # noqa: F401
import torch

from keisei.config import Settings, SettingsError
from keisei.feed.outbox import Outbox
from keisei.nets.policy import DeviceError, resolve_device, resolve_dtype
from keisei.nets.registry import check
from keisei.play.mailbox import Mailbox
from keisei.ppo.ranks import ALONE, CURRENT, Ranks
from keisei.process import openmp_is_set
from keisei.runtime.learners import Learner, build_learner
from keisei.runtime.status import Start
from keisei.runtime.worker import Plan, Worker
from keisei.store import (
    CheckpointError,
    DamagedCheckpointError,
    Database,
    RunDirectory,
    RunReader,
    find_checkpoint,
    resumed_settings,
)
from keisei.store.checkpoints import read_manifest, read_state
from keisei.store.directory import LOCK_FILE, settings_text
from keisei.store.lock import holder_pid

SPINNING = (
    "OpenMP's threads spin while they wait: training is several times slower on processors that "
    "others use too. Call keisei.prepare_process() before torch is imported, or set GOMP_SPINCOUNT"
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is about to start."""

    settings: Settings
    """As they will be used; nothing is left to decide."""
    run: RunDirectory
    database: Database
    resumed: Path | None
    """The checkpoint to continue from."""
    init: Path | None
    """The checkpoint whose weights to start from."""
    start: Start
    evaluations: list[dict[str, Any]]
    """Of the run's earlier processes, newest first; some go on."""
    remarks: tuple[str, ...]
    """What the user should be told: settings ignored, checkpoints refused."""


Opened = tuple[Prepared, Callable[[Mailbox, Outbox], Worker]]


def open_run(
    settings: Settings,
    *,
    run: Path | None,
    resume: bool,
    init: Path | None,
    keep_serving: bool,
    build: Callable[[Settings], Learner] | None,
) -> Opened:
    """A run's files and what makes its worker. Blocking, as ``prepare``, which see."""
    ranks = CURRENT.get()
    decided = build is not None
    prepared = prepare(settings, run, resume=resume, init=init, decided=decided, ranks=ranks)
    plan = Plan(
        settings=prepared.settings,
        run=prepared.run,
        resumed=prepared.resumed,
        init=prepared.init,
        start=prepared.start,
        keep_serving=keep_serving,
        build=build or partial(build_learner, ranks=ranks),
        ranks=ranks,
    )
    return prepared, partial(Worker, plan)


def prepare(
    settings: Settings,
    run: Path | None,
    *,
    resume: bool,
    init: Path | None,
    decided: bool = False,
    ranks: Ranks = ALONE,
) -> Prepared:
    """Open or make the run directory. Blocking; the caller closes ``run`` and ``database``.

    ``decided``: leave ``auto`` settings as they are. Raises RunError, RunLockedError,
    CheckpointError, DatabaseError, DeviceError, NetError, OSError.
    """
    settings_text(settings)  # what no file can hold is refused before there is a folder
    _check_evaluation(settings)
    remarks: list[str] = []
    checkpoint, origin, start = None, None, Start()
    if resume:
        directory = RunDirectory.open(run or RunDirectory.newest(settings.run.root))
    else:
        if init:
            origin, remarks = _origin(init, settings)
        settings = settings if decided else decide(settings)
        _check_device(settings, ranks)
        directory = RunDirectory.create(settings, run)
        if run is None and ranks.size == 1:
            remarks += _other_workers(directory.path)
    try:
        if resume:
            settings, ignored = resumed_settings(directory.settings, settings)
            directory.settings = settings
            remarks += [f"{key} was ignored: the run keeps its own" for key in ignored]
            checkpoint, refused = find_checkpoint(directory.path)
            remarks += [f"refused: {error}" for error in refused]
            start = _start(checkpoint, ranks)
        database = Database(directory.database)
    except BaseException:
        directory.close()
        raise
    if settings.device == "cpu" and settings.compute.threads > 1 and not openmp_is_set():
        remarks.append(SPINNING)
    try:
        evaluations = _evaluations(directory, database, start.step) if resume else []
    except BaseException:
        database.close()
        directory.close()
        raise
    return Prepared(
        settings=settings,
        run=directory,
        database=database,
        resumed=checkpoint,
        init=origin,
        start=start,
        evaluations=evaluations,
        remarks=tuple(remarks),
    )


def _origin(init: Path, settings: Settings) -> tuple[Path, list[str]]:
    """The checkpoint whose weights to start from, and remarks on those that were refused."""
    origin, refused = find_checkpoint(init)
    _check_net(origin, settings)
    return origin, [f"refused: {error}" for error in refused]


def _evaluations(directory: RunDirectory, database: Database, step: int) -> list[dict[str, Any]]:
    """Those of the run up to ``step``; what the database holds of later steps is removed."""
    database.check()
    database.truncate_after(step)
    return RunReader(directory.path).evaluations()


def _other_workers(path: Path) -> list[str]:
    """Remarks about the other processes of our server that train too, each a run of its own.

    A server with several workers (``gunicorn -w 2``) starts them from one process of its own
    program. A shell, which may start as many runs as it likes, is another program.
    """
    try:
        parent = psutil.Process().parent()
        if parent is None or parent.exe() != psutil.Process().exe():
            return []
        siblings = {child.pid for child in parent.children()} - {os.getpid()}
        locks = [lock for lock in path.parent.glob(f"*/{LOCK_FILE}") if lock.parent != path]
        others = [lock.parent for lock in locks if holder_pid(lock) in siblings]
    except (OSError, psutil.Error):  # a process or a run that has just ended
        return []
    return [
        f"another process of the same server trains {other} as well: serve with one worker, or "
        "name the run, so that its lock refuses the second process"
        for other in others
    ]


def _start(checkpoint: Path, ranks: Ranks) -> Start:
    """Where a resumed run begins.

    Raises CheckpointError for a warm start, and for games of more or fewer ranks.
    """
    manifest, state = read_manifest(checkpoint), read_state(checkpoint)
    if state.get("format") == "weights":
        raise CheckpointError(f"{checkpoint}: holds weights alone: begin a run with --init")
    before = state.get("ranks", 1)
    if before != ranks.size:
        how = f"with torchrun --nproc-per-node {before}" if before > 1 else "without torchrun"
        raise CheckpointError(
            f"{checkpoint}: number of ranks: {before} then, {ranks.size} now, and each has games of "
            f"its own: continue it {how}, or begin a new run from its weights with --init"
        )
    iteration, elapsed = state.get("iteration"), state.get("elapsed_seconds")
    if not isinstance(iteration, int) or not isinstance(elapsed, int | float):
        raise DamagedCheckpointError(f"{checkpoint}: its state names no iteration and time")
    return Start(manifest["step"], iteration, elapsed, manifest["created"])


def _check_evaluation(settings: Settings) -> None:
    """Raises SettingsError: hours later, when an evaluation is due, would be too late."""
    from keisei.runtime.evaluations import check_opponents, regular_spec
    from keisei.usi import EngineSpec, EngineSpecError

    where = ""
    try:
        check_opponents(settings)
        regular_spec(settings)
        for name, text in settings.evaluation.engines.items():
            where = f"evaluation.engines.{name}"
            EngineSpec.parse(text)
    except EngineSpecError as error:
        raise SettingsError(f"{where}: {error}") from error
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _check_device(settings: Settings, ranks: Ranks) -> None:
    """Refuse a GPU by number where each rank takes the one of its own. Raises DeviceError."""
    if ranks.size > 1 and settings.device not in {"cpu", "cuda:0"}:
        raise DeviceError(
            f"device: {settings.device} was asked for, but each of the {ranks.size} ranks takes the "
            "GPU of its own number: ask for cuda, and choose by CUDA_VISIBLE_DEVICES"
        )


def _check_net(checkpoint: Path, settings: Settings) -> None:
    """Refuse weights of another network before there is a run. Raises CheckpointError."""
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
    """Replace what is left to us (``auto``, 0 threads) by what is here.

    Decided once and kept in ``run.toml``: a resumed run must not compute differently. Raises
    DeviceError, NetError.
    """
    check(**settings.net.model_dump())
    device = resolve_device(settings.device)
    dtype = str(resolve_dtype(settings.compute.dtype, device)).removeprefix("torch.")
    threads = settings.compute.threads or torch.get_num_threads()
    compute = settings.compute.model_copy(update={"dtype": dtype, "threads": threads})
    return settings.model_copy(update={"device": str(device), "compute": compute})

"""From what a user asked for to a run directory that is ours, before any thread starts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from keisei.config import Settings
from keisei.nets.policy import resolve_device, resolve_dtype
from keisei.nets.registry import check_kind
from keisei.runtime.outbox import Outbox
from keisei.runtime.queues import Mailbox
from keisei.runtime.worker import Learner, Plan, Worker, build_learner
from keisei.store import (
    Database,
    RunDirectory,
    find_checkpoint,
    resumed_settings,
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
    step: int
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
    prepared = prepare(settings, run, resume=resume, init=init, decided=build is not None)
    plan = Plan(
        settings=prepared.settings,
        run=prepared.run,
        resumed=prepared.resumed,
        init=prepared.init,
        step=prepared.step,
        keep_serving=keep_serving,
        build=build or build_learner,
    )
    return prepared, partial(Worker, plan)


def prepare(
    settings: Settings, run: Path | None, *, resume: bool, init: Path | None, decided: bool = False
) -> Prepared:
    """Open or make the run directory. Blocking; the caller closes ``run`` and ``database``.

    ``decided``: leave ``auto`` settings as they are. Raises RunError, RunLockedError,
    CheckpointError, DeviceError, UnknownNetError, OSError.
    """
    directory: RunDirectory
    remarks: list[str] = []
    checkpoint, step = None, 0
    if resume:
        directory = RunDirectory.open(run or RunDirectory.newest(settings.run.root))
    else:
        origin = find_checkpoint(init)[0] if init else None
        settings = settings if decided else decide(settings)
        directory = RunDirectory.create(settings, run)
    try:
        if resume:
            settings, ignored = resumed_settings(directory.settings, settings)
            directory.settings = settings
            remarks += [f"{key} was ignored: the run keeps its own" for key in ignored]
            checkpoint, refused = find_checkpoint(directory.path)
            remarks += [f"refused: {error}" for error in refused]
            step = int(checkpoint.name)
        database = Database(directory.database)
        if resume:
            database.truncate_after(step)
    except BaseException:
        directory.close()
        raise
    return Prepared(
        settings, directory, database, checkpoint, None if resume else origin, step, tuple(remarks)
    )


def decide(settings: Settings) -> Settings:
    """Replace what is left to us (``auto``, 0 threads) by what is here.

    Decided once and kept in ``run.toml``: a resumed run must not compute differently. Raises
    DeviceError, UnknownNetError.
    """
    check_kind(settings.net.kind)
    device = resolve_device(settings.device)
    dtype = str(resolve_dtype(settings.compute.dtype, device)).removeprefix("torch.")
    threads = settings.compute.threads or torch.get_num_threads()
    compute = settings.compute.model_copy(update={"dtype": dtype, "threads": threads})
    return settings.model_copy(update={"device": str(device), "compute": compute})

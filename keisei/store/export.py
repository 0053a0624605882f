"""Export a network: its weights with the settings of its training, and a model card."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from keisei.config import Settings
from keisei.store.checkpoints import (
    WEIGHTS,
    Checkpoint,
    load_checkpoint,
    read_state,
    write_part,
)
from keisei.store.directory import RunError, read_settings
from keisei.store.files import sync_folder, write_synced
from keisei.store.layout import CHECKPOINTS, SETTINGS_FILE
from keisei.store.manifest import STATE, write_manifest
from keisei.store.reader import RunReader
from keisei.store.scores import newest_scores

CARD = "README.md"
"""Name of the model card's file in an exported network's folder."""
_SECTIONS = {"schedule", "env", "net", "ppo", "opponents", "compute"}
"""Settings of the training. Other settings can name private things, such as files and servers."""


def run_of(checkpoint: Path) -> Path | None:
    """Return the run that contains a checkpoint; None for a checkpoint outside a run."""
    folder = checkpoint.absolute()
    run = folder.parent.parent
    return run if folder.parent.name == CHECKPOINTS and (run / SETTINGS_FILE).exists() else None


def scores_of(checkpoint: Path, step: int) -> list[dict[str, Any]]:
    """Return the newest scores of the run's networks up to ``step``. Raises DatabaseError.

    A checkpoint outside a run has no scores.
    """
    run = run_of(checkpoint)
    return newest_scores(RunReader(run).evaluations(), until=step) if run else []


def trained_with(folder: Path) -> Settings:
    """Read the settings with which a checkpoint was trained. Raises RunError, CheckpointError.

    The run of the checkpoint contains these settings, or else the exported network does. If a
    checkpoint was moved out of its run, the default settings are returned.
    """
    if run := run_of(folder):
        return read_settings(run)
    state = read_state(folder) if (folder / STATE).exists() else {}
    try:
        return Settings(**state.get("settings", {}))
    except (TypeError, ValidationError) as error:
        why = " ".join(str(error).split())
        raise RunError(
            f"{folder / STATE}: this version of Keisei can't read its settings: {why}"
        ) from None


def read_weights(checkpoint: Path) -> Checkpoint:
    """Read a checkpoint's weights; its state becomes the state of an exported network.

    The state has ``net``, ``step``, ``iteration``, ``elapsed_seconds``, ``run`` and ``settings``.
    Only settings of the training are in it. Raises CheckpointError, RunError.
    """
    loaded, trained = load_checkpoint(checkpoint, only=WEIGHTS), trained_with(checkpoint)
    run, found = run_of(checkpoint), loaded.state
    settings = trained.model_dump(mode="json", include=_SECTIONS)
    state: dict[str, Any] = {
        "format": WEIGHTS,
        "run": run.name if run else found.get("run", checkpoint.name),
        "step": loaded.step,
        **{key: found[key] for key in ("iteration", "elapsed_seconds", "net") if key in found},
        "settings": settings | {"run": {"seed": trained.run.seed}},
    }
    return Checkpoint(loaded.path, loaded.step, loaded.tensors, state)


def write_export(network: Checkpoint, card: str, out: Path) -> None:
    """Write an exported network into the new folder ``out``.

    The folder is a checkpoint without the state of the training. The header of
    ``weights.safetensors`` contains the network's state as JSON, under the key ``keisei``.
    Raises FileExistsError if ``out`` exists, OSError.
    """
    if out.exists():
        raise FileExistsError(17, "already exists; name another folder with --out", str(out))
    out.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".new-{out.name}-", dir=out.parent))
    try:
        metadata = {"format": "pt", "keisei": json.dumps(network.state)}
        files = write_part(new, 0, network.tensors, network.state, metadata)
        # The card is not in the manifest, because its readers may edit it.
        write_synced(new / CARD, card.encode())
        write_manifest(new, network.step, files)
        new.chmod(0o755)  # mkdtemp lets no other user read the folder
        new.rename(out)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    sync_folder(out.parent)

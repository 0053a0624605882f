"""Manifests that lie are refused, whatever their checksum says."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from forged import forge

from keisei.config import Settings
from keisei.store import CheckpointError, RunDirectory, save_checkpoint
from keisei.store.manifest import verify


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    with RunDirectory.create(Settings(), tmp_path / "run") as run:
        return save_checkpoint(run, 1, {"weights": {"w": torch.ones(3)}}, {"step": 1})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 7}, "made by a newer Keisei: format 7; this one reads up to format 1"),
        ({"format": 0}, "not a manifest of format 1"),
        ({"files": {}}, "not a manifest of format 1"),
        ({"files": {"state.json": {}, "../x": {}}}, "not a manifest of format 1"),
        ({"files": {"state.json": 3}}, "not a manifest of format 1"),
        ({"files": None}, "not a manifest of format 1"),
        ({"step": "1"}, "not a manifest of format 1"),
        ({"step": 2**63}, "not a manifest of format 1"),
        ({"step": -1}, "not a manifest of format 1"),
        ({"created": math.inf}, "not a manifest of format 1"),
        (
            {"files": {"state.json": {"size": 1, "sha256": ""}, "a\0": {"size": 1, "sha256": ""}}},
            "not a manifest of format 1",
        ),
    ],
)
def test_forged_manifests_are_refused(checkpoint: Path, change: dict[str, Any], said: str) -> None:
    forge(checkpoint, **change)
    with pytest.raises(CheckpointError, match=said):
        verify(checkpoint)


def test_files_larger_than_the_memory_are_refused_before_they_are_read(checkpoint: Path) -> None:
    files = json.loads((checkpoint / "manifest.json").read_text())["files"]
    files["weights.safetensors"]["size"] = 2**60
    forge(checkpoint, files=files)
    with pytest.raises(CheckpointError, match=r"1,073,741,824\.0 GiB, and this machine has"):
        verify(checkpoint)


def test_a_manifest_that_would_fill_the_memory_is_not_read(checkpoint: Path) -> None:
    with (checkpoint / "manifest.json").open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(CheckpointError, match=r"manifest\.json: larger than 33,554,432 bytes"):
        verify(checkpoint)

"""The files in ``deploy/``: the start script, the systemd unit and the Containerfile."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[1] / "deploy"


def serve_run(folder: Path) -> str:
    """The command line that the script runs in a folder."""
    program = folder / "keisei"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    return subprocess.run(
        [DEPLOY / "serve-run", "--log.format", "json"],
        capture_output=True, text=True, check=True, cwd=folder,
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"},
    ).stdout.strip()  # fmt: skip


def test_the_first_start_makes_the_run(tmp_path: Path) -> None:
    assert serve_run(tmp_path) == "serve --run run --log.format json"


def test_a_later_start_continues_the_run(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run/checkpoints/000000000064"
    checkpoint.mkdir(parents=True)
    (checkpoint / "manifest.json").touch()
    assert serve_run(tmp_path) == "serve --run run --log.format json --resume"
    assert checkpoint.exists()


def test_a_run_that_ended_before_its_first_checkpoint_is_kept_aside(tmp_path: Path) -> None:
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    (tmp_path / "run/run.toml").touch()
    assert serve_run(tmp_path) == "serve --run run --log.format json"
    assert not (tmp_path / "run").exists()
    [aside] = tmp_path.glob("run-without-checkpoint-*")
    assert (aside / "run.toml").exists()


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    unit = tmp_path / "keisei.service"
    unit.write_text(
        (DEPLOY / "keisei.service").read_text().replace("/opt/keisei/deploy", str(DEPLOY))
    )
    checked = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_the_image_copies_files_that_exist() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    sources = " ".join(re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE)).split()
    assert sources
    assert [name for name in sources if not (DEPLOY.parent / name).exists()] == []

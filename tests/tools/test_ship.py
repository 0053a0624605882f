"""tools/ship: a run becomes a folder that plays, with a card that says how it was made."""

import csv
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

import keisei
from keisei.cli.main import main
from keisei.store import read_settings

SHIP = Path(__file__).parents[2] / "tools" / "ship.py"
SMALL = (
    "--env.games=4", "--env.reset_pool=16", "--ppo.rollout_plies=8", "--ppo.minibatch=32",
    "--net.blocks=1", "--net.channels=8", "--run.steps=128", "--device=cpu",
)  # fmt: skip


def ship(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SHIP), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_a_trained_run_becomes_a_small_player_with_a_card(tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    assert main(["train", "--run", str(run), *SMALL]) == 0
    (out / "shipped-000000").mkdir(parents=True)
    done = ship("--run", run, "--out", out, "--opponent", "random", "--games", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (network,) = out.iterdir()
    assert keisei.load(network, "cpu").name == f"{network.name}@128"
    assert read_settings(network).net.channels == 8
    held = {path.name for path in network.rglob("*") if path.is_file()}
    assert held == {
        "CARD.md", "manifest.json", "run.toml", "state.json", "training.csv", "weights.safetensors",
    }  # fmt: skip
    (weights,) = network.rglob("weights.safetensors")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert network.name == f"shipped-{digest[:6]}"
    card = (network / "CARD.md").read_text("utf-8")
    assert digest in card
    assert f"{network.name}/run.toml --run.minutes 0 --run.steps 128" in card
    assert "| `random` | 0 | 2 | " in card
    rows = list(csv.DictReader((network / "training.csv").open(encoding="utf-8")))
    assert [row["step"] for row in rows] == ["32", "64", "96", "128"]


@pytest.mark.parametrize("words", [(), ("--run", "a", "--run.minutes", "2")])
def test_the_tool_wants_either_a_run_or_flags_for_the_training(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    done = ship(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert "either --run RUN or flags for the training" in done.stderr
    assert list(tmp_path.iterdir()) == []

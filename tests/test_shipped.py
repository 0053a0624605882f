"""The network that ships with Keisei: it plays, and its card says the truth about it."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keisei
from keisei.resources import shipped_network
from keisei.shogi import Position
from keisei.store import find_checkpoint, read_settings
from keisei.store.manifest import verify

NETWORK = shipped_network()
CARD = (NETWORK / "CARD.md").read_text("utf-8")
SCORE = re.compile(
    r"\| `(?P<opponent>[^`]+)` \| (?P<mates>\d) \| (?P<games>\d+) \| (?P<score>\S+)"
    r" \| (?P<low>\S+) to (?P<high>\S+) \|"
)


def weights() -> Path:
    return find_checkpoint(NETWORK)[0] / "weights.safetensors"


def test_it_plays_legal_moves_under_the_name_that_its_weights_give_it() -> None:
    player = keisei.load("shipped", device="cpu")
    assert player.name == f"{NETWORK.name}@{player.step}"
    position = Position()
    for _ in range(10):
        position.push(player.best_move(position.sfen()) or "")


def test_its_name_and_its_card_hold_the_hash_of_the_weights() -> None:
    digest = hashlib.sha256(weights().read_bytes()).hexdigest()
    assert NETWORK.name == f"shipped-{digest[:6]}"
    assert digest in CARD


def test_it_is_whole_and_small_and_the_package_has_only_one() -> None:
    assert set(verify(weights().parent)["files"]) == {"weights.safetensors", "state.json"}
    assert weights().stat().st_size <= 1_000_000
    assert sum(path.stat().st_size for path in NETWORK.rglob("*") if path.is_file()) < 1_100_000
    assert [path.name for path in NETWORK.parent.iterdir()] == [NETWORK.name]


def test_its_card_names_the_settings_and_a_licence_and_has_scores() -> None:
    assert f"seed {read_settings(NETWORK).run.seed}," in CARD
    assert "| licence | MIT |" in CARD
    opponents = {found["opponent"] for found in SCORE.finditer(CARD)}
    assert {"random", "material"} < opponents
    for found in SCORE.finditer(CARD):
        assert float(found["low"]) <= float(found["score"]) <= float(found["high"])


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "row", [row for row in SCORE.finditer(CARD) if row["opponent"] == "material"]
)
def test_its_score_against_material_is_repeated(row: re.Match[str]) -> None:
    command = [sys.executable, "-m", "keisei", "evaluate", "shipped", "--opponent", "material"]
    command += ["--games", row["games"], "--greedy", "--mates", row["mates"], "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(row["low"]) <= json.loads(done.stdout)["score"] <= float(row["high"])

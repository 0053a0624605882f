"""An exported network is a whole checkpoint that needs no run."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from stored_runs import damage, evaluate, make_run

from keisei.config import Settings
from keisei.play.players import load
from keisei.shogi import Position
from keisei.store import CheckpointError, RunError, find_checkpoint, load_checkpoint
from keisei.store.export import read_weights, scores_of, trained_with, write_export
from keisei.store.manifest import verify

PRIVATE = {"server": {"token_file": "/home/me/token"}, "wandb": {"entity": "me"}}
TRAINED = {"env": {"max_ply": 99, "declaration": "24"}, "compute": {"dtype": "bfloat16"}}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    run = make_run(tmp_path / "run", [10, 20], {**PRIVATE, **TRAINED})
    return find_checkpoint(run)[0]


@pytest.fixture
def out(checkpoint: Path, tmp_path: Path) -> Path:
    """The exported network, in a folder without its run."""
    out = tmp_path / "elsewhere" / "strong"
    write_export(read_weights(checkpoint), "# card\n", out)
    shutil.rmtree(checkpoint.parent.parent)
    return out


def test_the_weights_and_the_settings_of_the_training_are_whole(
    checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "strong"
    write_export(read_weights(checkpoint), "# card\n", out)
    before, after = load_checkpoint(checkpoint), load_checkpoint(out)
    assert before.tensors["weights"].keys() == after.tensors["weights"].keys()
    for name, tensor in before.tensors["weights"].items():
        assert torch.equal(tensor, after.tensors["weights"][name])
    assert (after.step, after.state["run"], after.state["iteration"]) == (20, "run", 2)
    settings = trained_with(out)
    assert (settings.env.max_ply, settings.env.declaration) == (99, "24")
    assert settings.env == trained_with(checkpoint).env
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "manifest.json", "state.json", "weights.safetensors",
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "strong"]


def test_a_player_plays_by_the_rules_of_its_training_without_the_run(out: Path) -> None:
    player = load(out)
    assert (player.name, player.max_ply, player.declaration) == ("strong@20", 99, "24")
    assert player.agent.dtype == torch.bfloat16
    assert player.best_move(Position().sfen())


def test_the_header_has_the_settings_and_nothing_private_leaves_the_run(out: Path) -> None:
    with safe_open(out / "weights.safetensors", "numpy") as file:
        found = json.loads(file.metadata()["keisei"])
    assert found["net"] == {"kind": "se_resnet", "blocks": 2, "channels": 8}
    assert found["settings"]["env"]["max_ply"] == 99
    for file in out.iterdir():
        assert b"/home/me" not in file.read_bytes()
        assert b"server" not in file.read_bytes()


def test_an_exported_network_can_be_exported_again(out: Path, tmp_path: Path) -> None:
    again = read_weights(out)
    assert again.state == load_checkpoint(out).state
    assert scores_of(out, 20) == []


def test_a_flipped_bit_is_refused_but_the_card_may_be_edited(out: Path) -> None:
    (out / "README.md").write_text("# another card\n")
    verify(out)
    damage(out / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: damaged"):
        load(out)


def test_an_existing_folder_is_not_overwritten(out: Path) -> None:
    network = read_weights(out)
    with pytest.raises(FileExistsError, match="already exists"):
        write_export(network, "", out)
    verify(out)


def test_a_failed_export_leaves_nothing(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    network = read_weights(out)
    monkeypatch.setattr("keisei.store.export.write_manifest", full)
    with pytest.raises(OSError, match="No space"):
        write_export(network, "", out.parent / "another")
    assert [path.name for path in out.parent.iterdir()] == ["strong"]


def test_settings_of_a_newer_version_are_refused_by_name(out: Path) -> None:
    state = json.loads((out / "state.json").read_text())
    state["settings"]["env"]["gravity"] = 1
    (out / "state.json").write_text(json.dumps(state))
    with pytest.raises(
        RunError, match=r"state\.json: this version .* can't read its settings: .*gravity"
    ):
        trained_with(out)


def test_a_checkpoint_that_was_moved_out_of_its_run_has_the_default_settings(
    checkpoint: Path, tmp_path: Path
) -> None:
    shutil.move(checkpoint, tmp_path / "moved")
    assert trained_with(tmp_path / "moved") == Settings()


def test_scores_of_later_networks_are_not_exported(checkpoint: Path) -> None:
    run = checkpoint.parent.parent
    evaluate(run, 20, "random", 0.7)
    evaluate(run, 30, "random", 0.8)
    assert [score["score"] for score in scores_of(checkpoint, 20)] == [0.7]

"""What rank 0 asks of the other ranks. tests/cli/test_torchrun.py has two real ones."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from keisei.config import Settings
from keisei.ppo.ranks import ALONE, Ranks
from keisei.runtime.follower import collect_parts, roll_back_others, start_others
from keisei.store import Checkpoint, RunDirectory, load_checkpoint, save_checkpoint
from keisei.store.checkpoints import write_part


class ThreeRanks(Ranks):
    """Rank 0 of three; records what it sends. The others answer as the test says."""

    size = 3

    def __init__(self, *answers: Any, sent: tuple[bytes, ...] = ()) -> None:
        self.answers = [json.dumps(answer) for answer in answers]
        self.orders: list[tuple[str, str]] = []
        self.sent: dict[int, list[bytes]] = {1: [], 2: []}
        self.arriving = list(sent)

    def send_order(self, order: Any, text: str = "") -> None:
        self.orders.append((order, text))

    def gather(self, text: str) -> list[str]:
        return [text, *self.answers]

    def send(self, data: bytes, to: int) -> None:
        self.sent[to].append(data)

    def receive(self, source: int) -> bytes:
        assert self.orders[-1] == ("send", str(source))
        return self.arriving.pop(0)


def part(number: int) -> dict[str, dict[str, torch.Tensor]]:
    return {"env": {"games": torch.tensor([number])}}


def head(state: Any) -> bytes:
    return json.dumps({"state": state, "groups": ["env"]}).encode()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint that three ranks saved."""
    with RunDirectory.create(Settings(), tmp_path / "run") as run:

        def others(folder: Path) -> Any:
            return write_part(folder, 1, part(1), {"rank": 1}) | write_part(folder, 2, part(2), {})

        tensors = part(0) | {"weights": {"w": torch.ones(3)}, "optimizer": {"m": torch.ones(2)}}
        return save_checkpoint(run, 7, tensors, {"rank": 0}, others)


def test_the_others_get_the_settings_and_their_own_part_of_the_checkpoint(checkpoint: Path) -> None:
    ranks, settings = ThreeRanks(), Settings(device="cpu")
    start_others(ranks, settings, checkpoint, None)
    ((order, text),) = ranks.orders
    assert order == "start"
    assert Settings(**json.loads(text)["settings"]) == settings
    for rank in (1, 2):
        first, *groups = ranks.sent[rank]
        found = dict(zip(json.loads(first)["groups"], map(load, groups), strict=True))
        assert found["env"]["games"].tolist() == [rank]
        assert found["weights"]["w"].tolist() == [1, 1, 1]
    assert json.loads(ranks.sent[1][0])["state"] == {"rank": 1}


def test_a_new_run_with_first_weights_sends_the_weights_alone(checkpoint: Path) -> None:
    ranks = ThreeRanks()
    start_others(ranks, Settings(), None, checkpoint)
    assert json.loads(ranks.sent[2][0]) == {"state": {}, "groups": ["weights"]}


def test_a_rollback_sends_weights_and_optimiser_to_all_others(checkpoint: Path) -> None:
    ranks = ThreeRanks()
    good: Checkpoint = load_checkpoint(checkpoint)
    roll_back_others(ranks, good)
    assert ranks.orders == [("rollback", "7")]
    assert [json.loads(sent[0])["groups"] for sent in ranks.sent.values()] == [
        ["weights", "optimizer"],
        ["weights", "optimizer"],
    ]


def test_the_files_of_all_ranks_make_up_a_checkpoint(tmp_path: Path) -> None:
    one, two = {"rank1.safetensors": "ab"}, {"rank2.safetensors": "cd"}
    ranks = ThreeRanks(one, two)
    assert collect_parts(ranks, tmp_path) == one | two
    assert ranks.orders == [("save", str(tmp_path))]
    assert collect_parts(ALONE, tmp_path) == {}


def test_the_part_of_a_rank_on_another_machine_is_written_here(tmp_path: Path) -> None:
    ranks = ThreeRanks(
        {"env.1.safetensors": "ab"}, None, sent=(head({"x": 1}), save(part(2)["env"]))
    )
    files = collect_parts(ranks, tmp_path)
    assert sorted(files) == ["env.1.safetensors", "env.2.safetensors", "state.2.json"]
    assert load((tmp_path / "env.2.safetensors").read_bytes())["games"].tolist() == [2]
    assert json.loads((tmp_path / "state.2.json").read_text()) == {"x": 1}


def test_a_rank_that_cannot_write_its_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="rank 2: No space left on device"):
        collect_parts(ThreeRanks({}, "No space left on device"), tmp_path)

"""What rank 0 asks of the other ranks. tests/cli/test_torchrun.py has two real ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from keisei.ppo.ranks import ALONE, Ranks
from keisei.runtime.follower import collect_parts, start_others


class ThreeRanks(Ranks):
    """Rank 0 of three; records its orders. The others answer as the test says."""

    size = 3

    def __init__(self, *answers: Any) -> None:
        self.answers = [json.dumps(answer) for answer in answers]
        self.orders: list[tuple[str, str]] = []

    def send_order(self, order: Any, text: str = "") -> None:
        self.orders.append((order, text))

    def gather(self, text: str) -> list[str]:
        return [text, *self.answers]


def test_the_others_start_from_absolute_paths(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    ranks = ThreeRanks()
    start_others(ranks, Path("run"), None, Path("init"))
    ((order, text),) = ranks.orders
    assert order == "start"
    assert json.loads(text) == {"run": str(tmp_path / "run"), "init": str(tmp_path / "init")}


def test_the_files_of_all_ranks_make_up_a_checkpoint(tmp_path: Path) -> None:
    one, two = {"rank1.safetensors": "ab"}, {"rank2.safetensors": "cd"}
    ranks = ThreeRanks(one, two)
    assert collect_parts(ranks, tmp_path) == one | two
    assert ranks.orders == [("save", str(tmp_path))]
    assert collect_parts(ALONE, tmp_path) == {}


def test_a_rank_that_cannot_write_its_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="rank 2: No space left on device"):
        collect_parts(ThreeRanks({}, "No space left on device"), tmp_path)

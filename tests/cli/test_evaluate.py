"""``keisei evaluate`` as a person meets it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from keisei.cli.main import main
from keisei.config import Settings
from keisei.nets.registry import build
from keisei.store import RunDirectory, save_checkpoint

NET = {"kind": "se_resnet", "blocks": 1, "channels": 8}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    settings = Settings.model_validate({"env": {"declaration": "24"}})
    with RunDirectory.create(settings, tmp_path / "run") as run:
        for step in (10, 20):
            weights = build(**NET, seed=step).state_dict()
            save_checkpoint(run, step, {"weights": weights}, {"net": NET})
    return run.path


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The command sets the number of the process's threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def report(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert main(["evaluate", *map(str, words), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    found: dict[str, Any] = json.loads(captured.out)
    return found


def test_json_holds_counts_that_add_up(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, run, "--opponent", "material", "--games", 20, "--seed", 3)
    assert found["checkpoint"] == str(run / "checkpoints" / "000000000020")
    assert (found["step"], found["opponent"], found["games"]) == (20, "material", 20)
    assert (found["seed"], found["greedy"], found["max_ply"]) == (3, False, 512)
    assert found["declaration"] == "24"
    assert found["wins"] + found["draws"] + found["losses"] + found["capped"] == 20
    assert found["score"] == (found["wins"] + (found["draws"] + found["capped"]) / 2) / 20
    assert found["interval"][0] <= found["score"] <= found["interval"][1]
    assert found["losses"] >= 16
    assert sum(found["by_reason"]["losses"].values()) == found["losses"]


def test_the_seed_decides_all_but_the_time(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "checkpoints" / "000000000010"
    words = (path, "--opponent", "material", "--games", 10, "--device", "cpu")
    first, again, other = (report(capsys, *words, "--seed", seed) for seed in (1, 1, 2))
    for found in (first, again, other):
        assert found.pop("seconds") > 0
    assert first["step"] == 10
    assert first == again
    assert first != other


def test_greedy_plays_otherwise(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, run, "--opponent", "random", "--games", 40, "--greedy")
    assert found["greedy"] is True
    drawn = report(capsys, run, "--opponent", "random", "--games", 40)
    assert found["by_reason"] != drawn["by_reason"]


def test_text_for_people(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), "--opponent", "material", "--games", "10"]) == 0
    text = capsys.readouterr().out
    assert "(step 20) against material" in text
    for word in ("score 0.", "95 % interval", "wins", "losses", "capped", "checkmate"):
        assert word in text


def test_a_damaged_checkpoint_is_told_and_the_older_one_plays(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = run / "checkpoints" / "000000000020"
    (damaged / "weights.safetensors").write_bytes(b"x")
    words = ["evaluate", str(run), "--opponent", "material", "--games", "2", "--json"]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["step"] == 10
    assert f"refused: {damaged}/weights.safetensors: damaged" in captured.err
    assert main(["evaluate", str(damaged), "--games", "2"]) == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere"], 2, "nowhere: no such run or checkpoint"),
        (["RUN", "--games", "3"], 2, "--games: an even number, 2 or more (got 3)"),
        (["RUN", "--games", "x"], 2, "--games"),
        (["RUN", "--opponent", "god"], 2, "--opponent"),
        (["RUN", "--seed", "-1"], 2, "--seed"),
        (["RUN", "--threads", "0"], 2, "--threads: 1 or more (got 0)"),
        (["RUN", "--device", "cuda:99"], 3, "cuda:99"),
        (["RUN", "--device", "tpu"], 2, "tpu"),
        ([], 2, "RUN|CHECKPOINT"),
    ],
)
def test_what_is_wrong_is_one_line(
    run: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main(["evaluate", *(str(run) if word == "RUN" else word for word in words)]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert said in captured.err

"""``keisei warmup`` as a person meets it."""

import json
import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from keisei.cli.main import main
from keisei.config import Settings
from keisei.play.players import load
from keisei.runtime.plan import RunRequest
from keisei.runtime.prepare import open_run
from keisei.shogi import Position
from keisei.store import load_checkpoint

SMALL = ("--net.blocks", "1", "--net.channels", "8", "--ppo.minibatch", "64", "--device", "cpu")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The command sets the number of the process's threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def games(tmp_path: Path) -> Path:
    """A file of twenty openings, in which black wins; every third says nothing of its end."""
    rng = random.Random(3)
    lines = []
    for number in range(20):
        position, moves = Position(), []
        for _ in range(15):
            moves.append(rng.choice(position.legal_moves()))
            position.push(moves[-1])
        end = "" if number % 3 == 0 else " resign"
        lines.append(f"startpos moves {' '.join(moves)}{end}")
    file = tmp_path / "games.usi"
    file.write_text("\n".join(lines))
    return file


def warm_up(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    """The report."""
    chosen = ("--compute.threads", "1", "--compute.dtype", "float32")
    assert main(["warmup", *map(str, words), *SMALL, *chosen, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_run_can_start_from_the_result(
    games: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = warm_up(capsys, games, "--run", tmp_path / "warm", "--epochs", 3)
    assert found["games"] == {
        "read": 20, "skipped": 0, "repeated": 0, "learned": 18, "held_out": 2,
    }  # fmt: skip
    assert found["positions"]["learned"] == found["positions"]["in_games"] == 18 * 15
    assert found["positions"]["held_out"] == 30
    assert 0.5 < found["positions"]["with_result"] < 0.9
    assert [row["epoch"] for row in found["epochs"]] == [0, 1, 2, 3]
    assert found["best"] == min(found["epochs"], key=lambda row: row["loss"])
    assert found["best"]["epoch"] > 0
    checkpoint = Path(found["checkpoint"])
    assert checkpoint == tmp_path / "warm" / "checkpoints" / "000000000000"
    net = {"kind": "se_resnet", "blocks": 1, "channels": 8}
    settings = Settings.model_validate({"net": net})
    for init in (checkpoint, tmp_path / "warm"):
        prepared = open_run(RunRequest(settings, tmp_path / f"run-{init.name}", init=init))
        prepared.database.close()
        prepared.run.close()
        assert prepared.init == checkpoint
    assert load(tmp_path / "warm").best_move("startpos") in Position().legal_moves()


def test_the_result_is_refused_as_a_run_to_resume(
    games: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warm_up(capsys, games, "--run", tmp_path / "warm", "--epochs", 1)
    assert main(["train", "--run", str(tmp_path / "warm"), "--resume"]) == 2
    assert "contains only weights: begin a new run with --init" in capsys.readouterr().err


def test_the_best_weights_are_kept_not_the_last(
    games: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a rate at which it unlearns, the best are those before the first minibatch."""
    words = (games, "--run", tmp_path / "warm", "--epochs", 2)
    rates = ("--ppo.learning_rate", 0.5, "--ppo.learning_rate_final", 0.5)
    found = warm_up(capsys, *words, *rates)
    assert found["best"]["epoch"] == 0
    assert found["epochs"][-1]["loss"] > found["best"]["loss"]
    kept = load_checkpoint(Path(found["checkpoint"])).tensors["weights"]
    fresh = warm_up(capsys, games, "--run", tmp_path / "b", "--epochs", 1, *rates)
    again = load_checkpoint(Path(fresh["checkpoint"])).tensors["weights"]
    assert all(torch.equal(kept[name], again[name]) for name in kept)


def test_the_seed_decides_the_weights(
    games: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def weights(name: str, seed: int) -> torch.Tensor:
        found = warm_up(
            capsys, games, "--run", tmp_path / name, "--run.seed", seed, "--positions", 200
        )
        assert found["positions"]["learned"] == 200
        tensors = load_checkpoint(Path(found["checkpoint"])).tensors["weights"]
        return torch.cat([tensors[name].flatten() for name in sorted(tensors)])

    assert torch.equal(weights("a", 1), weights("b", 1))
    assert not torch.equal(weights("c", 2), weights("d", 1))


def test_a_broken_game_is_listed_and_the_others_are_used(
    games: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "collection"
    folder.mkdir()
    games.rename(folder / "good.usi")
    (folder / "bad.kif").write_bytes(b"\x81 ")
    (folder / "notes.txt").write_text("no records")
    with (folder / "good.usi").open("a") as file:
        file.write("\nstartpos moves 7g7f 7g7e\n")
    words = ["warmup", str(folder), "--run", str(tmp_path / "warm"), "--epochs", "1", *SMALL]
    assert main([*words, "--config", "quickstart", "--config", "quickstart"]) == 0
    captured = capsys.readouterr()
    assert f"keisei: skipped: {folder}/bad.kif:1: line 1: neither a header" in captured.err
    assert f"keisei: skipped: {folder}/good.usi:21: ply 2: 7g7e is not legal" in captured.err
    assert "18 games to learn from, 2 held out" in captured.err
    assert "epoch 1: held-out games: top-1 " in captured.err
    start = f"--init {tmp_path}/warm/checkpoints/000000000000"
    small = "--net.blocks=1 --net.channels=8"
    twice = "--config quickstart --config quickstart"
    assert f"next: keisei train {twice} {small} {start}\n" in captured.out


def test_a_thousand_broken_games_are_not_a_thousand_lines(
    games: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with games.open("a") as file:
        file.write("\nnonsense" * 1000)
    words = ["warmup", str(games), "--run", str(tmp_path / "warm"), "--epochs", "1", *SMALL]
    assert main(words) == 0
    error = capsys.readouterr().err
    assert error.count("keisei: skipped: ") == 21
    assert "keisei: skipped: 980 more; --dry-run lists all of them" in error


def test_a_signal_ends_training_early_and_the_best_weights_are_saved(
    games: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGINT)
    ended = threading.Event()

    def interrupt() -> None:
        while not ended.wait(0.5):
            if signal.getsignal(signal.SIGINT) is not before:
                os.kill(os.getpid(), signal.SIGINT)
                return

    helper = threading.Thread(target=interrupt)
    helper.start()
    try:
        found = warm_up(capsys, games, "--run", tmp_path / "warm", "--epochs", 100_000)
    finally:
        ended.set()
        helper.join()
    assert found["best"]["epoch"] > 0
    assert Path(found["checkpoint"]).is_dir()
    assert signal.getsignal(signal.SIGINT) is before


def test_minutes_end_training_early(
    games: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--epochs", 100_000, "--minutes", 0.01)
    found = warm_up(capsys, games, "--run", tmp_path / "warm", *words)
    assert found["seconds"] < 10


def test_the_default_folder_is_apart_from_the_runs(
    games: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--resume`` takes the newest run: that must not be a warm start, which can't go on."""
    found = warm_up(capsys, games, "--epochs", 1, "--run.root", tmp_path / "runs")
    (start,) = (tmp_path / "runs" / "warmup").iterdir()
    assert found["checkpoint"] == str(start / "checkpoints" / "000000000000")
    assert main(["train", "--resume", "--run.root", str(tmp_path / "runs")]) == 2
    assert "holds no run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere"], 2, "nowhere: no such file or folder"),
        (["GAMES", "TMP/notes.txt"], 2, "notes.txt: the file name does not end in"),
        (["TMP/empty"], 2, "empty: no file name in this folder ends in"),
        (["TMP/one.usi"], 2, "one.usi: two different games or more are needed (got 1)"),
        (["GAMES", "--epochs", "0"], 2, "--epochs: 1 or more (got 0)"),
        (["GAMES", "--minutes", "-1"], 2, "--minutes: 0 (no end) or more (got -1.0)"),
        (["GAMES", "--held-out", "1"], 2, "--held-out: between 0 and 1 (got 1.0)"),
        (["GAMES", "--positions", "0"], 2, "--positions: 1 or more (got 0)"),
        (["GAMES", "--net.kind", "x"], 2, "net.kind"),
        (["GAMES", "--device", "cuda:99"], 3, "cuda:99"),
        ([], 2, "GAMES"),
    ],
)
def test_an_error_is_one_line(
    games: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    said: str,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "one.usi").write_text("startpos moves 7g7f")
    words = [word.replace("GAMES", str(games)).replace("TMP", str(tmp_path)) for word in words]
    assert main(["warmup", *words, "--run", str(tmp_path / "warm")]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert not (tmp_path / "warm").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("PI\n+\n+7775FU\n", "ply 1: 7g7e is not legal ("),
        ("x\n/\nx\n/\nx\n", "bad.csa:1: line 1: not a line of CSA: x (and 2 more)\n"),
        ("", "bad.csa: contains no game\n"),
    ],
)
def test_a_file_without_a_usable_game_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    file = tmp_path / "bad.csa"
    file.write_text(text)
    assert main(["warmup", str(file), "--run", str(tmp_path / "warm")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error


def test_a_run_is_not_overwritten(
    games: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warm_up(capsys, games, "--run", tmp_path / "warm", "--epochs", 1)
    words = ["warmup", str(games), "--run", str(tmp_path / "warm"), *SMALL]
    assert main(words) == 2
    assert "already holds a run" in capsys.readouterr().err

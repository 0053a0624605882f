"""``keisei evaluate`` as a person meets it."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cshogi
import pytest
import torch
from cshogi import CSA
from engine_tools import debian, fake
from rsshogi.record import Record

from keisei.cli.main import main
from keisei.config import Settings
from keisei.nets.registry import build
from keisei.resources import shipped_network
from keisei.store import Database, DatabaseError, RunDirectory, RunReader, save_checkpoint

NET = {"kind": "se_resnet", "blocks": 1, "channels": 8}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    settings = Settings.model_validate(
        {"env": {"declaration": "24"}, "evaluation": {"engines": {"weak": "usi:/nowhere?nodes=1"}}}
    )
    with RunDirectory.create(settings, tmp_path / "run") as run:
        for step in (10, 20):
            weights = build(**NET, seed=step).state_dict()
            save_checkpoint(run, step, {"weights": weights}, {"net": NET})
        Database(run.database).close()
    return run.path


@pytest.fixture
def alone(run: Path, tmp_path: Path) -> Path:
    """The same checkpoint, outside of any run."""
    return shutil.copytree(run / "checkpoints" / "000000000020", tmp_path / "alone")


@pytest.fixture
def openings(tmp_path: Path) -> Path:
    file = tmp_path / "openings.usi"
    file.write_text("7g7f 3c3d\nstartpos moves 2g2f 8c8d  # another\n")
    return file


@pytest.fixture
def quick(tmp_path: Path) -> list[str]:
    """Games that are over after a ply: whoever is white moves, and black declares."""
    file = tmp_path / "quick.usi"
    file.write_text("sfen 4K4/GGGGSSSSR/R8/9/9/9/9/9/4k4 w 2B4N4L9P 1\n")
    return ["--openings", str(file)]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The command sets the number of the process's threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def report(
    capsys: pytest.CaptureFixture[str], *words: object, code: int = 0, said: str = ""
) -> dict[str, Any]:
    assert main(["evaluate", *map(str, words), "--json"]) == code
    captured = capsys.readouterr()
    assert captured.err == said
    found: dict[str, Any] = json.loads(captured.out)
    return found


def pairings(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(match["agent"], match["opponent"]) for match in found["matches"]]


def test_json_holds_counts_that_add_up(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, run, "--opponent", "material", "--games", 20, "--seed", 3)
    assert found["checkpoints"] == [str(run / "checkpoints" / "000000000020")]
    assert (found["agent"], found["opponent"], found["games"]) == ("run@20 mates=1", "material", 20)
    assert (found["seed"], found["greedy"], found["max_ply"]) == (3, False, 512)
    assert (found["strategy"], found["declaration"]) == ("single", "24")
    assert found["wins"] + found["draws"] + found["losses"] + found["capped"] == 20
    assert found["score"] == (found["wins"] + (found["draws"] + found["capped"]) / 2) / 20
    assert found["interval"][0] <= found["score"] <= found["interval"][1]
    assert sum(found["pentanomial"]) == found["pairs"] == 10
    assert found["losses"] >= 16
    assert sum(found["by_reason"]["losses"].values()) == found["losses"]


def test_the_network_that_ships_with_keisei_is_agent_and_opponent(
    run: Path, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = shipped_network().name
    found = report(capsys, run, "--opponent", "shipped", *quick, "--games", 2)
    assert found["opponent"].startswith(f"{name}@")
    assert report(capsys, "shipped", *quick, "--games", 2)["agent"].startswith(f"{name}@")
    assert main(["evaluate", str(run), "--opponent", "shiped"]) == 2
    assert "shipped" in capsys.readouterr().err


def test_the_seed_decides_all_but_the_time(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (alone, "--opponent", "material", "--games", 10, "--device", "cpu")
    first, again, other = (report(capsys, *words, "--seed", seed) for seed in (1, 1, 2))
    for found in (first, again, other):
        assert found.pop("seconds") > 0
    assert first == again
    assert first != other


def test_greedy_play_leads_to_other_games(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (run, "--opponent", "material", "--games", 4)
    found, drawn = report(capsys, *words, "--greedy"), report(capsys, *words)
    assert (found["greedy"], found["agent"]) == (True, "run@20 greedy mates=1")
    assert (drawn["greedy"], drawn["agent"]) == (False, "run@20 mates=1")
    plies = [
        {game["number"]: game["plies"] for game in RunReader(run).match_games(one["evaluation"])}
        for one in (found, drawn)
    ]
    assert plies[0] != plies[1]


def test_the_report_as_text_has_scores_sprt_and_ratings(
    run: Path, quick: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(run), "--opponent", "material", "--games", "10"]
    assert main([*words, "--sprt", "0,5"]) == 0
    text = capsys.readouterr().out
    (row,) = RunReader(run).evaluations()
    for said in (
        "run@20 mates=1 against material", "score 0.", "95 % interval", "10 games   Elo ", "losses",
        "checkmate", "capped", "SPRT: undecided between +0 and +5 Elo after 5 pairs",
        f"kept as evaluation {row['id']} of {run}",
    ):  # fmt: skip
        assert said in text
    several = [*words, *quick, "--opponent", "random", "--strategy", "gauntlet"]
    assert main(several) == 0
    text = capsys.readouterr().out
    for said in ("run@20 mates=1 against material", "run@20 mates=1 against random",
                 "random is 0. Moving first", "declaration 5", "Elo +0 ("):  # fmt: skip
        assert said in text


def test_a_damaged_checkpoint_is_reported_and_the_older_one_plays(
    run: Path, quick: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = run / "checkpoints" / "000000000020"
    (damaged / "weights.safetensors").write_bytes(b"x")
    words = ["evaluate", str(run), *quick, "--games", "2", "--json"]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["agent"] == "run@10 mates=1"
    assert f"refused: {damaged}/weights.safetensors: damaged" in captured.err
    assert main(["evaluate", str(damaged), "--games", "2"]) == 3


@pytest.mark.parametrize(
    ("strategy", "met"),
    [
        ("gauntlet", ["20 random", "20 material", "10 random", "10 material"]),
        ("round_robin", ["20 10", "20 random", "20 material", "10 random", "10 material", "random material"]),
        ("benchmark", ["20 random", "20 material", "10 random", "10 material"]),
    ],
)  # fmt: skip
def test_several_agents_meet_several_opponents(
    run: Path, quick: list[str], capsys: pytest.CaptureFixture[str], strategy: str, met: list[str]
) -> None:
    agents = run, run / "checkpoints" / "000000000010"
    opponents = "--opponent", "random", "--opponent", "material"
    found = report(capsys, *agents, *opponents, *quick, "--strategy", strategy, "--games", 4)
    names = {"20": "run@20 mates=1", "10": "run@10 mates=1"}
    assert pairings(found) == [
        tuple(names.get(name, name) for name in pair.split()) for pair in met
    ]
    assert found["games"] == 4 * len(met)
    ratings = {line["player"]: line for line in found["ratings"]["players"]}
    assert ratings.keys() == {"run@20 mates=1", "run@10 mates=1", "random", "material"}
    assert ratings["random"]["elo"] == 0


def test_a_ladder_is_climbed_no_higher_than_it_is_won(
    run: Path, quick: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rungs = "--opponent", "material", "--opponent", "random"
    found = report(capsys, run, *rungs, *quick, "--strategy", "ladder", "--games", 2)
    assert (found["opponent"], found["score"]) == ("material", 0.5)


def test_checkpoints_and_runs_are_opponents(
    run: Path, quick: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    older = run / "checkpoints" / "000000000010"
    opponents = "--opponent", older, "--opponent", run
    found = report(capsys, run, *opponents, *quick, "--strategy", "gauntlet", "--games", 4)
    assert pairings(found) == [
        ("run@20 mates=1", "run@10 mates=1"),
        ("run@20 mates=1", "run@20 mates=1"),
    ]
    assert [match["pentanomial"] for match in found["matches"]] == [[0, 0, 2, 0, 0]] * 2


def test_the_games_are_stored_in_the_run(
    run: Path, openings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (run, "--opponent", "material", "--games", 6, "--openings", openings)
    found = report(capsys, *words)
    (row,) = RunReader(run).evaluations()
    assert (row["id"], row["state"], row["step"]) == (found["evaluation"], "done", 20)
    assert (row["games"], row["progress"], row["score"]) == (6, 1, found["score"])
    assert row["spec"]["openings"] == str(openings)
    assert row["result"]["pentanomial"] == found["pentanomial"]
    games = RunReader(run).match_games(row["id"])
    assert sorted(game["number"] for game in games) == list(range(6))
    assert {game["opening"] for game in games} == {
        "startpos moves 7g7f 3c3d", "startpos moves 2g2f 8c8d",
    }  # fmt: skip
    assert {(game["black"], game["white"]) for game in games} == {
        ("run@20 mates=1", "material"), ("material", "run@20 mates=1"),
    }  # fmt: skip
    ratings = {line["player"]: line for line in RunReader(run).ratings()}
    assert ratings["run@20 mates=1"]["kind"] == "network"
    assert ratings["material"]["games"] == ratings["run@20 mates=1"]["games"] == 6
    assert ratings["material"]["elo"] > ratings["run@20 mates=1"]["elo"]
    again = report(capsys, *words)
    assert again["evaluation"] != found["evaluation"], "one that is done is played anew"
    assert main(["games", "export", str(run), "--format", "usi", "--evaluation", row["id"]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert {" ".join(line.split()[:4]) for line in lines} == {game["opening"] for game in games}


def test_outside_of_a_run_there_is_no_database(
    alone: Path, quick: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(alone.parent.rglob("*"))
    found = report(capsys, alone, *quick, "--games", 2)
    assert (found["agent"], found["evaluation"], found["games"]) == ("alone@20 mates=1", None, 2)
    assert sorted(alone.parent.rglob("*")) == before


def test_a_checkpoint_that_was_moved_elsewhere_in_its_run_is_measured(
    run: Path, alone: Path, quick: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    moved = run / "best" / "mine"
    moved.parent.mkdir()
    alone.rename(moved)
    assert report(capsys, moved, *quick, "--games", 2)["evaluation"] is None


@pytest.mark.parametrize(
    ("sprt", "code", "said"),
    [("100,200", 4, "H0 (+100 Elo)"), ("-200,-100", 0, "H1 (-100 Elo)")],
)
def test_a_sequential_test_says_by_its_exit_code_what_it_found(
    run: Path, quick: list[str], capsys: pytest.CaptureFixture[str], sprt: str, code: int, said: str
) -> None:
    """Two equal players."""
    words = (run, *quick, "--games", 400, f"--sprt={sprt}")
    found = report(capsys, *words, code=code)
    assert found["sprt"]["decision"] == ("reject" if code else "accept")
    assert found["games"] == 2 * found["pairs"] == 2 * found["sprt"]["pairs"] < 400
    assert main(["evaluate", *map(str, words)]) == code
    assert f"SPRT: {said} accepted after {found['pairs']} pairs" in capsys.readouterr().out


@pytest.mark.timeout(180)  # where other work has the cores
def test_the_same_command_resumes_an_interrupted_evaluation(
    run: Path, alone: Path, openings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opponents = ["--opponent", "material", "--opponent", "random"]
    words = [*opponents, "--strategy", "gauntlet", "--games", "120", "--openings", str(openings)]
    # A shell's background jobs ignore SIGINT, and so would what they start: this is Ctrl-C's.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from keisei.cli.main import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, "evaluate", str(run), *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while len(RunReader(run).match_games()) <= 10:  # then there are whole pairs
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=50)
    assert (process.returncode, error) == (
        130,
        "keisei: interrupted; give the same command again to continue\n",
    )
    (row,) = RunReader(run).evaluations()
    assert row["state"] == "cancelled"
    kept = {game["number"]: game for game in RunReader(run).match_games(limit=1000)}
    assert 10 < len(kept) < 240
    assert 0 < row["progress"] < 1

    said = f"keisei: continuing after {len(kept)} games of evaluation {row['id']}\n"
    found = report(capsys, run, *words, said=said)
    games = {game["number"]: game for game in RunReader(run).match_games(limit=1000)}
    assert sorted(games) == list(range(240))
    whole = [number for number in kept if number ^ 1 in kept]
    assert whole
    assert all(games[number] == kept[number] for number in whole)
    (row,) = RunReader(run).evaluations()
    assert (row["state"], row["result"]["games"]) == ("done", 240)
    undisturbed = report(capsys, alone, *words)
    for one, other in zip(found["matches"], undisturbed["matches"], strict=True):
        # In batches of another size a network's last digits differ, and once in a while a move.
        assert one["games"] == other["games"] == 120
        assert one["score"] == pytest.approx(other["score"], abs=0.05)


def test_an_engine_is_an_opponent(
    run: Path, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = fake("play", tmp_path)
    words = ["evaluate", str(run), "--opponent", f"usi:{engine.path}?nodes=1", "--games", "2"]
    assert main([*words, *quick]) == 0
    text = capsys.readouterr().out
    assert f"run@20 mates=1 against usi:{engine.path}?nodes=1" in text
    assert "s of CPU" in text
    assert "faults" not in text
    assert len(RunReader(run).match_games()) == 2


def test_an_engine_failure_is_reported_and_the_same_command_resumes(
    run: Path, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = fake("exit", tmp_path)
    opponent = "--opponent", f"usi:{engine.path}?nodes=1"
    words = (run, *opponent, *quick, "--games", 2, "--concurrency", 1)
    assert main(["evaluate", *map(str, words)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    (row,) = RunReader(run).evaluations()
    assert row["state"] == "failed"
    assert row["message"].startswith("EngineGone: ")
    assert row["message"].removeprefix("EngineGone: ") in captured.err
    fake("play", tmp_path)
    shutil.copy(tmp_path / "play", engine.path)
    assert report(capsys, *words)["evaluation"] == row["id"]


def test_a_match_that_fails_before_its_first_game_is_reported_as_json(
    run: Path, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = f"usi:{fake('exit', tmp_path).path}?nodes=1"
    words = [run, "--opponent", engine, *quick, "--games", 2, "--json"]
    assert main(["evaluate", *map(str, words)]) == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    (row,) = RunReader(run).evaluations()
    assert found["evaluation"] == row["id"]
    assert "exited with code 3" in found["error"]
    assert captured.err == f"keisei: {found['error']}\n"


def test_the_games_before_an_engine_failure_are_reported(
    run: Path, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = f"usi:{fake('exit', tmp_path).path}?nodes=1"
    opponents = "--opponent", "random", "--opponent", "material", "--opponent", engine
    words = [run, *opponents, *quick, "--strategy", "gauntlet", "--games", 2, "--concurrency", 1]
    assert main(["evaluate", *map(str, words), "--json"]) == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert pairings(found) == [("run@20 mates=1", "random"), ("run@20 mates=1", "material")]
    assert (found["games"], found["anchor"]) == (4, "random")
    assert captured.err == f"keisei: {found['error']}\n"
    assert "exited with code 3" in found["error"]
    (row,) = RunReader(run).evaluations()
    assert row["state"] == "failed"
    assert row["result"]["games"] == 4
    assert row["message"] == f"EngineGone: {found['error']}"


@pytest.mark.parametrize("failing", [False, True])
def test_a_result_that_cannot_be_kept_is_reported(
    run: Path, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, failing: bool,
) -> None:  # fmt: skip
    def locked(run: Path) -> None:
        raise DatabaseError("it is locked")

    monkeypatch.setattr("keisei.play.archive.refit", locked)
    engine = f"usi:{fake('exit', tmp_path).path}?nodes=1"
    more = ["--opponent", engine, "--strategy", "gauntlet"] if failing else []
    words = [str(run), "--opponent", "random", *more, *quick, "--games", "2", "--concurrency", "1"]
    assert main(["evaluate", *words, "--json"]) == (1 if failing else 3)
    captured = capsys.readouterr()
    assert json.loads(captured.out)["games"] == 2
    lines = captured.err.splitlines()
    assert "keisei: it is locked" in lines
    assert [("exited with code 3" in line) for line in lines].count(True) == failing
    assert len(lines) == 1 + failing


def test_other_programs_read_the_games_of_two_levels_of_fairy_stockfish(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = debian("fairy-stockfish", "fairy-stockfish")
    rungs = [f"usi:{engine}?nodes=100&Skill Level={level}" for level in (-4, 0)]
    opponents = [word for rung in rungs for word in ("--opponent", rung)]
    found = report(capsys, run, *opponents, "--strategy", "gauntlet", "--games", 2)
    assert pairings(found) == [("run@20 mates=1", rung) for rung in rungs]
    for match in found["matches"]:
        assert match["engines"][0].startswith("Fairy-Stockfish")
        assert (match["losses"], match["error"]) == (2, None)
    kinds = {line["player"]: line["kind"] for line in RunReader(run).ratings()}
    assert kinds == {"run@20 mates=1": "network", **dict.fromkeys(rungs, "engine")}

    reader, out = RunReader(run), tmp_path / "games"
    assert main(["games", "export", str(run), "--format", "csa", "--out", str(out)]) == 0
    files = sorted(out.iterdir())
    assert len(files) == 4
    for number, file in enumerate(files):
        game = reader.match_game(found["evaluation"], number)
        assert game is not None
        (read,) = CSA.Parser.parse_file(str(file))
        assert " ".join(cshogi.move_to_usi(move) for move in read.moves) == game["moves"]
        assert read.names == [game["black"], game["white"]]
        record = Record.from_csa_str(file.read_text())
        assert [move.move.to_usi() for move in record.moves] == game["moves"].split()
        assert record.result.is_black_win() == (game["result"] == "black")
        assert record.result.is_white_win() == (game["result"] == "white")
        played = game["values"][len(game["opening"].partition(" moves ")[2].split()) :]
        assert None not in played, "the engine's come from the scores that it writes"


def test_a_bad_opening_is_named_by_file_and_line(
    run: Path, openings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    openings.write_text("7g7f\n\n7g7f 7g7f\n")
    assert main(["evaluate", str(run), "--openings", str(openings)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"keisei: --openings: {openings}:3: ply 2: ")
    assert captured.err.count("\n") == 1
    assert RunReader(run).evaluations() == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere"], 2, "nowhere: no such file or folder"),
        (["RUN", "--games", "3"], 2, "--games: an even number, 2 or more (got 3)"),
        (["RUN", "--games", "x"], 2, "--games"),
        (["RUN", "--opponent", "god"], 2, "god: no such file or folder; allowed are random, mat"),
        (["RUN", "--opponent", "materail"], 2, "no such file or folder, did you mean material?"),
        (["RUN", "--opponent", "rnadom"], 2, "no such file or folder, did you mean random?"),
        (["RUN", "--opponent", "waek"], 2, "waek: no such file or folder, did you mean weak?"),
        (
            ["RUN", "--opponent", "usi:x?nodes=0"],
            2,
            "--opponent: nodes: must be a whole number from 1",
        ),
        (["RUN", "--opponent", "usi:/nowhere/x?nodes=1"], 3, "/nowhere/x"),
        (["RUN", "--opponent", "weak"], 3, "/nowhere"),
        (["RUN", "--strategy", "chess"], 2, "--strategy: 'chess' is not one of single, gauntlet,"),
        (["RUN", "RUN"], 2, "RUN|CHECKPOINT: the strategy single would leave out "),
        (
            ["RUN", "--opponent", "random", "--opponent", "material"],
            2,
            "--opponent: the strategy single would leave out material; use gauntlet",
        ),
        (
            ["RUN", "RUN", "--strategy", "ladder"],
            2,
            "RUN|CHECKPOINT: the strategy ladder would leave out ",
        ),
        (
            ["RUN", "--sprt", "20"],
            2,
            "--sprt: two numbers with a comma, for example 0,20 (got '20')",
        ),
        (["RUN", "--sprt", "20,0"], 2, "--sprt: elo1: above elo0, 20 (got 0"),
        (["RUN", "--sprt", "nan,1"], 2, "--sprt: elo0"),
        (["RUN", "--openings", "nowhere"], 2, "--openings: nowhere: No such file"),
        (["RUN", "--concurrency", "0"], 2, "--concurrency: 1 or more (got 0)"),
        (["RUN", "--seed", "-1"], 2, "--seed"),
        (["RUN", "--threads", "0"], 2, "--threads: 1 or more (got 0)"),
        (["RUN", "--device", "cuda:99"], 3, "cuda:99"),
        (["RUN", "--device", "tpu"], 2, "tpu"),
        ([], 2, "RUN|CHECKPOINT"),
    ],
)
def test_an_error_is_one_line_with_its_exit_code(
    run: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main(["evaluate", *(str(run) if word == "RUN" else word for word in words)]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert said in captured.err

"""``keisei metrics``."""

import csv
import io
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from keisei.cli.main import main
from keisei.config import Settings
from keisei.events import Iteration
from keisei.store import Database, RunDirectory

Train = Callable[..., Path]
Ask = Callable[..., str]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Make a run with the given metrics, one dictionary per iteration of 64 steps."""

    def train(*values: Mapping[str, float], each: int = 64) -> Path:
        with RunDirectory.create(Settings(), tmp_path / "run") as made:
            database = Database(made.database)
            database.append(
                Iteration(
                    run="run", step=each * i, time=1000.5 + i, iteration=i, values=dict(found)
                )
                for i, found in enumerate(values, 1)
            )
            database.close()
        return made.path

    return train


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    def ask(*words: object) -> str:
        assert main(["metrics", *map(str, words)]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return ask


def test_csv_has_a_row_per_iteration_and_a_column_per_metric(train: Train, ask: Ask) -> None:
    run = train(
        {"train/kl": 0.125, "games/length": 81.0},
        {"train/kl": math.nan, "games/length": 1e-9},
        {"train/kl": 3.0, "eval/elo": -20.0},
    )
    assert ask(run, "--csv").splitlines() == [
        "step,iteration,time,eval/elo,games/length,train/kl",
        "64,1,1001.5,,81.0,0.125",
        "128,2,1002.5,,1e-09,nan",
        "192,3,1003.5,-20.0,,3.0",
    ]
    assert ask(run, "--csv", "--keys", "train/kl, eval/elo,train/kl").splitlines()[::3] == [
        "step,iteration,time,train/kl,eval/elo",
        "192,3,1003.5,3.0,-20.0",
    ]


def test_csv_has_every_iteration_of_a_long_run(train: Train, ask: Ask) -> None:
    run = train(*({"train/lr": i / 7} for i in range(5000)))
    rows = list(csv.DictReader(io.StringIO(ask(run, "--csv"))))
    assert [float(row["train/lr"]) for row in rows] == [i / 7 for i in range(5000)]


def test_json_has_columns_of_equal_length(train: Train, ask: Ask) -> None:
    run = train({"a/b": 1.5}, {"a/b": math.inf, "c": 2.0}, {"c": -2.0})
    assert json.loads(ask(run, "--json")) == {
        "step": [64, 128, 192],
        "iteration": [1, 2, 3],
        "time": [1001.5, 1002.5, 1003.5],
        "a/b": [1.5, None, None],
        "c": [None, 2.0, -2.0],
    }


def test_the_table_goes_from_the_first_iteration_to_the_newest(train: Train, ask: Ask) -> None:
    run = train(
        *({"train/entropy": 4 - i / 250, "speed/steps_per_second": 1234.5} for i in range(500))
    )
    group, head, *rows, count, more = ask(run).splitlines()
    assert (group.split(), head.split()) == (["train"], ["step", "iteration", "entropy"])
    assert rows[0].split() == ["64", "1", "4"]
    assert rows[-1].split() == ["32000", "500", "2.004"]
    places = [int(row.split()[1]) for row in rows]
    assert len(places) == 20
    assert max(b - a for a, b in pairwise(places)) <= 27
    assert count == "20 of 500 iterations; --csv and --json print all."
    assert more == "More metrics, for --keys: speed/steps_per_second."
    chosen = ask(run, "--keys", "speed/steps_per_second").splitlines()
    assert chosen[0].split() == ["speed"]
    assert chosen[2].split() == ["64", "1", "1234"]
    assert "More" not in chosen[-1]


@pytest.mark.parametrize("count", [1, 2, 19, 20])
def test_the_table_has_every_iteration_of_a_short_run(count: int, train: Train, ask: Ask) -> None:
    _, _, *rows = ask(train(*({"train/entropy": 1.0} for _ in range(count)))).splitlines()
    assert [int(row.split()[1]) for row in rows] == list(range(1, count + 1))


def test_a_run_without_the_usual_metrics_shows_its_own(train: Train, ask: Ask) -> None:
    assert ask(train({"my/own": 0.5}))[-4:] == "0.5\n"


def test_the_table_fits_into_80_columns(train: Train, ask: Ask) -> None:
    values = {
        "train/loss_policy": -0.0123456, "train/loss_value": 1.02345, "train/entropy": 3.65812,
        "games/length": 213.245, "games/decisive": 0.386123, "eval/score": 0.81253,
        "system/rss_bytes": 1e9, "train/explained_variance": -0.123456, "speed/share_update": 0.5,
    }  # fmt: skip
    lines = ask(train(*[values] * 30, each=999_999)).splitlines()
    assert "29999970" in lines[-4]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("train/entorpy", "--keys: no metric 'train/entorpy', did you mean train/entropy?"),
        ("train/kl,entropy", "--keys: no metric 'entropy', did you mean train/entropy?"),
        ("eval/elo", "--keys: no metric 'eval/elo'; the run has train/entropy, train/kl"),
        ("", "--keys: no metric ''; the run has train/entropy, train/kl"),
    ],
)
def test_an_unknown_metric_is_refused(
    keys: str, said: str, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train({"train/kl": 1.0, "train/entropy": 1.0})
    assert main(["metrics", str(run), "--keys", keys]) == 2
    assert capsys.readouterr() == ("", f"keisei: {said}\n")


def test_a_run_without_iterations_is_reported(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train()
    for form in ([], ["--csv"], ["--json"]):
        assert main(["metrics", str(run), *form]) == 1
        assert capsys.readouterr().err.startswith(f"keisei: {run}: no metrics yet")
    assert main(["metrics", str(run), "--keys", "train/kl"]) == 2
    assert "'train/kl'; the run has none yet" in capsys.readouterr().err


def test_a_run_that_lost_its_iterations_on_resume_is_reported(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train({"train/kl": 1.0})
    database = Database(run / "keisei.db")
    database.truncate_after(0)
    database.close()
    assert main(["metrics", str(run), "--keys", "train/kl"]) == 1
    assert "no metrics yet" in capsys.readouterr().err


def test_torch_is_not_imported(train: Train) -> None:
    run = train({"train/kl": 1.0})
    code = (
        "import sys; from keisei.cli.main import main; code = main(sys.argv[1:]);"
        "sys.exit(code or bool({'torch', 'numba'} & {*sys.modules}))"
    )
    command = [sys.executable, "-c", code, "metrics", str(run), "--json"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0

"""Runs that earlier versions made open, show their data, and resume where the guide says so."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from older_runs import contents, unpack

from keisei.cli.main import main
from keisei.config import Settings
from keisei.env import observe_sfen
from keisei.nets.planes import expand
from keisei.nets.registry import build
from keisei.ppo.learner import Learner
from keisei.runtime.learners import begin, build_learner
from keisei.runtime.plan import RunPlan, RunRequest
from keisei.runtime.prepare import open_run
from keisei.store import CheckpointError, MatchTable, RunReader, find_checkpoint, load_checkpoint

ANSWERS_OF_FORMAT_1: list[dict[str, Any]] = [
    {
        "sfen": "lnsgkgsnl/1r5b1/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL b - 1",
        "top": [1528, 1492, 1510],
        "logits": [0.0514, 0.05108, 0.0456],
        "outcome": [0.00842, -0.0167, -0.00631],
    },
    {
        "sfen": "lns4n1/1rg1g1sbl/1p2pkp2/p1p4p1/3pPpP1p/PP6P/L1PP1P1PN/1B2G2RL/1NSGK1S2 b - 41",
        "top": [1510, 1528, 1527],
        "logits": [0.04814, 0.04635, 0.04361],
        "outcome": [0.00609, -0.006, -0.00532],
    },
]
"""Answers of the network in ``run-of-format-1``, computed by the version that trained it."""


@contextmanager
def opened(request: RunRequest) -> Iterator[RunPlan]:
    """Open a run, and close its files at the end."""
    plan = open_run(request)
    try:
        yield plan
    finally:
        plan.database.close()
        plan.run.close()


def started(plan: RunPlan) -> Learner:
    """The learner of a run, which has played and learned from one more rollout."""
    learner = build_learner(plan.settings)
    begin(learner, plan.resumed, plan.init)
    for _ in learner.iterate():
        pass
    return learner


def test_a_run_of_format_1_shows_all_its_data_and_stays_as_it_is(tmp_path: Path) -> None:
    run = unpack(1, tmp_path / "run")
    before, reader = contents(run), RunReader(run)
    found = reader.metrics()
    assert len(found["series"]) == 43
    assert found["series"]["train/entropy"]["step"] == list(range(64, 961, 64))
    games = reader.games(limit=99)
    assert len(games) == 29
    record = reader.game(games[0]["id"])
    assert record
    assert record["record"].startswith("sfen ")
    assert reader.events()[0]["event"] == "finished"
    assert [(c["step"], c.get("error")) for c in reader.checkpoints()] == [(960, None)]
    assert reader.config()["ppo"]["gamma"] == 0.997
    assert (reader.evaluations(), reader.match_games(), reader.ratings()) == ([], [], [])
    assert contents(run) == before


@pytest.mark.parametrize("number", [1, 2])
def test_the_commands_show_a_run_of_an_older_format(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = unpack(number, tmp_path / "run")
    assert main(["runs", "show", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 960
    assert main(["checkpoints", "verify", str(run)]) == 0
    assert main(["games", "export", str(run), "--self-play", "--format", "usi"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 20


def test_a_network_of_format_1_answers_as_it_did(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(find_checkpoint(unpack(1, tmp_path / "run"))[0], only="weights")
    net = build(**checkpoint.state["net"])
    net.load_state_dict(checkpoint.tensors["weights"])
    for answer in ANSWERS_OF_FORMAT_1:
        observation, _ = observe_sfen(answer["sfen"], 256)
        with torch.no_grad():
            policy, outcome = net(expand(torch.from_numpy(observation).view(1, -1)))
        logits, top = policy[0].topk(3)
        assert top.tolist() == answer["top"]
        assert logits.tolist() == pytest.approx(answer["logits"], abs=2e-5)
        assert outcome[0].tolist() == pytest.approx(answer["outcome"], abs=2e-5)


def test_training_does_not_resume_from_format_1_but_begins_anew_with_its_weights(
    tmp_path: Path,
) -> None:
    run = unpack(1, tmp_path / "run")
    before, new = contents(run), tmp_path / "new"
    with pytest.raises(
        CheckpointError, match=r"has format 1, .* resumes only from format 2; .*--init"
    ):
        open_run(RunRequest(Settings(), run=run, resume=True))
    assert contents(run) == before
    tiny = Settings.model_validate(
        {
            "device": "cpu",
            "run": {"root": tmp_path},
            "env": {"games": 4, "max_ply": 32, "reset_pool": 4},
            "net": {"blocks": 1, "channels": 8},
            "ppo": {"rollout_plies": 16, "minibatch": 64},
        }
    )
    with opened(RunRequest(tiny, run=new, init=run)) as plan:
        assert started(plan).iteration == 1


def test_the_database_of_a_run_of_format_1_takes_evaluations(tmp_path: Path) -> None:
    run = unpack(1, tmp_path / "run")
    MatchTable(run).close()
    with closing(sqlite3.connect(run / "keisei.db")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
    assert len(RunReader(run).games(limit=99)) == 29


def test_a_run_of_format_2_resumes_as_it_was_trained(tmp_path: Path) -> None:
    run = unpack(2, tmp_path / "run")
    games = RunReader(run).match_games()
    assert sorted(game["number"] for game in games) == [0, 1, 2, 3]
    with opened(RunRequest(Settings(), run=run, resume=True)) as plan:
        assert plan.start.step == 960
        settings = plan.settings
        assert (settings.env.mates, settings.ppo.declaration_reward) == (0, 0.3)
        learner = started(plan)
        assert (learner.step, learner.iteration) == (960 + 64, 16)
    assert RunReader(run).match_games() == games
    assert len(RunReader(run).ratings()) == 2

"""Evaluations in a run's database: games are kept, and the command line continues its own."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from kept_games import kept_game

from keisei.evaluation.spec import EvaluationSpec
from keisei.play.archive import Archive
from keisei.store import CheckpointError, RunDirectory, RunReader, save_checkpoint
from keisei.store.matches import MatchTable


@pytest.fixture
def checkpoint(recorded_run: Path) -> Path:
    with RunDirectory.open(recorded_run) as run:
        return save_checkpoint(run, 70, {"weights": {"w": torch.zeros(1)}}, {})


@pytest.fixture
def spec(checkpoint: Path) -> EvaluationSpec:
    return EvaluationSpec(
        agents=(str(checkpoint),), opponents=("random", "material"), strategy="gauntlet", games=4
    )


def row_of(archive: Archive) -> dict[str, Any]:
    row = RunReader(archive.run).evaluation(archive.id)
    assert row is not None
    return row


def test_kept_games_read_back_by_number(recorded_run: Path, spec: EvaluationSpec) -> None:
    archive = Archive.begin(recorded_run, spec)
    assert archive.games() == []
    archive.add([kept_game(3), kept_game(2)])
    archive.add([kept_game(0)])
    assert archive.games() == [kept_game(0), kept_game(2), kept_game(3)]


def test_an_evaluation_begins_as_running_with_its_settings(
    recorded_run: Path, spec: EvaluationSpec
) -> None:
    row = row_of(Archive.begin(recorded_run, spec))
    assert (row["state"], row["command"], row["step"], row["measured"]) == ("running", True, 70, 70)
    assert (row["strategy"], row["opponent"], row["games"]) == ("gauntlet", "random, material", 4)
    assert EvaluationSpec.from_dict(row["spec"]) == spec


@pytest.mark.parametrize("state", ["running", "failed"])
def test_an_evaluation_that_is_not_done_is_continued_with_its_games(
    recorded_run: Path, spec: EvaluationSpec, state: str
) -> None:
    first = Archive.begin(recorded_run, spec)
    first.add([kept_game(0)])
    first.end(state, {"message": "broken off"})
    again = Archive.begin(recorded_run, spec)
    assert again == first
    assert again.games() == [kept_game(0)]
    assert row_of(again)["state"] == "running"
    assert row_of(again)["message"] == ""


def test_an_evaluation_that_is_done_is_played_anew(
    recorded_run: Path, spec: EvaluationSpec
) -> None:
    first = Archive.begin(recorded_run, spec)
    first.end("done", {"score": 0.75})
    assert (row_of(first)["state"], row_of(first)["score"]) == ("done", 0.75)
    assert Archive.begin(recorded_run, spec).id != first.id


def test_only_an_evaluation_with_the_same_settings_is_continued(
    recorded_run: Path, spec: EvaluationSpec
) -> None:
    first = Archive.begin(recorded_run, replace(spec, seed=1))
    other = Archive.begin(recorded_run, spec)
    assert other.id != first.id
    assert Archive.begin(recorded_run, replace(spec, seed=1)) == first


@pytest.mark.parametrize(
    "fields",
    [{"command": False}, {"spec": {"unknown": 1}}, {"spec": {"games": "x"}}],
)
def test_evaluations_of_a_live_run_or_with_unreadable_settings_are_not_continued(
    recorded_run: Path, spec: EvaluationSpec, fields: dict[str, Any]
) -> None:
    with closing(MatchTable(recorded_run)) as table:
        table.begin("other", 70, {"command": True, "spec": spec.to_dict()} | fields)
    assert Archive.begin(recorded_run, spec).id != "other"


def test_an_agent_that_is_no_checkpoint_is_refused(
    recorded_run: Path, spec: EvaluationSpec
) -> None:
    missing = replace(spec, agents=(str(recorded_run / "nowhere"),))
    with pytest.raises(CheckpointError):
        Archive.begin(recorded_run, missing)
    assert RunReader(recorded_run).evaluations() == []


def test_players_are_rated_from_the_games_of_all_evaluations(
    recorded_run: Path, spec: EvaluationSpec
) -> None:
    archive = Archive.begin(recorded_run, spec)
    archive.add([kept_game(0)])
    archive.rate()
    assert {row["player"] for row in RunReader(recorded_run).ratings()} == {"run@1", "random"}

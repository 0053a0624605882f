"""What a run remembers about its W&B run."""

from pathlib import Path

import pytest

from keisei.sinks.wandb_memory import MEMORY_FILE, Memory
from keisei.sinks.wandb_rows import Row


def test_the_id_stays_and_a_row_is_new_only_once(tmp_path: Path) -> None:
    first = Memory(tmp_path)
    for row in (Row(100, {}), Row(100, {}, "a"), Row(200, {})):
        assert first.is_new(row)
        first.remember(row)
    then = Memory(tmp_path)
    assert then.id == first.id
    assert not then.is_new(Row(200, {}))
    assert then.is_new(Row(300, {}))


def test_an_evaluation_that_is_played_again_after_a_kill_is_not_logged_again(
    tmp_path: Path,
) -> None:
    Memory(tmp_path).remember(Row(500, {}))
    then = Memory(tmp_path)
    assert not then.is_new(Row(400, {}, "again"))
    assert then.is_new(Row(500, {}, "continued"))


def test_the_agent_of_a_sweep_chooses_the_id_of_a_new_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "fromagent")
    assert Memory(tmp_path).id == "fromagent"
    monkeypatch.setenv("WANDB_RUN_ID", "another")
    assert Memory(tmp_path).id == "fromagent"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / MEMORY_FILE).write_text("{")
    with pytest.raises(ValueError, match=r"wandb\.json: .*remove the file"):
        Memory(tmp_path)


def test_a_file_of_the_first_versions_is_read_and_one_of_a_newer_version_is_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / MEMORY_FILE).write_text('{"id": "a", "step": 7, "evaluations": []}')
    assert not Memory(tmp_path).is_new(Row(7, {}))
    (tmp_path / MEMORY_FILE).write_text('{"format": 9}')
    with pytest.raises(ValueError, match=r"wandb\.json: made by a newer Keisei: format 9"):
        Memory(tmp_path)

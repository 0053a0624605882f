"""The ``run.toml`` of an earlier version is read as what that version did."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from older_runs import FIXTURES, unpack

from keisei.config import Settings
from keisei.settings_sources import RENAMED
from keisei.store import MAY_CHANGE, RunDirectory, RunError, read_settings
from keisei.store.directory import _read_tree
from keisei.store.older_settings import LACKING


def of_training(tree: dict[str, Any]) -> set[str]:
    """The settings in ``tree`` that a resume keeps."""
    keys = {
        f"{section}.{key}"
        for section, keys in tree.items()
        if isinstance(keys, dict) and section not in MAY_CHANGE
        for key in keys
    }
    return {RENAMED.get(key, key) for key in keys} - {*MAY_CHANGE}


def test_each_setting_that_the_first_runs_lack_has_a_value_for_what_they_did(
    tmp_path: Path,
) -> None:
    first = of_training(_read_tree(unpack(1, tmp_path)))
    now = of_training(Settings().model_dump())
    assert now - first == {*LACKING, "env.reset_share_final"}, "say in LACKING what older runs did"


def test_a_run_of_the_first_version_keeps_its_training(tmp_path: Path) -> None:
    found = read_settings(unpack(1, tmp_path))
    assert (found.env.reset_share, found.env.reset_share_final) == (0.5, 0.5)
    assert (found.ppo.declaration_reward, found.ppo.gamma, found.ppo.gae_lambda) == (1, 0.997, 0.95)
    assert (found.env.mates, found.opponents.share) == (0, 0)


def test_a_run_of_format_2_is_read_as_it_was_written(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "run-of-format-2.toml", tmp_path / "run.toml")
    found = read_settings(tmp_path)
    assert (found.env.mates, found.ppo.gamma, found.ppo.declaration_reward) == (3, 0.9, 0.3)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "# format: 2\n",
            "# format: 7\n",
            "made by a newer Keisei: format 7; this one reads up to",
        ),
        (
            "[ppo]\n",
            "[ppo]\nmuon = true\n",
            "no such setting: ppo.muon; a newer Keisei has perhaps",
        ),
    ],
)
def test_a_run_of_a_newer_version_is_refused_by_name(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    RunDirectory.create(Settings(), tmp_path / "run").close()
    file = tmp_path / "run" / "run.toml"
    text = file.read_text().replace(old, new)
    file.write_text("".join(text.splitlines(keepends=True)[:-1]))  # without the checksum
    for read in (read_settings, RunDirectory.open):
        with pytest.raises(RunError, match=said):
            read(file.parent)

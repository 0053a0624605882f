"""``keisei config migrate``."""

import tomllib
from pathlib import Path

import pytest

from keisei.cli.main import main
from keisei.config import Settings
from keisei.store import RunDirectory, read_settings
from keisei.store.lock import Lock

OLD = """\
# my settings
[ppo]  # learning
"declaration" = 0.4   # less than a mate
gamma = 0.9

[env]
declaration = "24"    # another setting
"""
NEW = OLD.replace('"declaration"', '"declaration_reward"')


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (OLD, NEW),
        (OLD.replace("\n", "\r\n"), NEW.replace("\n", "\r\n")),
        ("ppo . declaration=0.4\n[env]\n", "ppo . declaration_reward=0.4\n[env]\n"),
        ("\ufeffppo.declaration = 0.4", "ppo.declaration_reward = 0.4"),
        (NEW, NEW),
    ],
)
def test_migrate_renames_settings_and_keeps_all_other_text(
    old: str, new: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(old.encode())
    assert main(["config", "migrate", str(file)]) == 0
    shown = capsys.readouterr()
    assert shown.out == new
    change = "nothing to change" if old == new else "ppo.declaration is now ppo.declaration_reward"
    assert shown.err == f"{file}: {change}\n"
    assert file.read_bytes() == old.encode(), "only --write changes the file"
    assert main(["config", "migrate", str(file), "--write"]) == 0
    assert capsys.readouterr().out == ""
    assert file.read_bytes() == new.encode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ppo = { declaration = 0.4 }\n", "change it by hand: ppo.declaration is now ppo.declar"),
        ("[ppo]\ndeclaration = 7\n", "ppo.declaration_reward: must be less than or equal to 1"),
        (
            "[ppo]\ndeclaration = 0.4\ndeclaration_reward = 0.4\n",
            "ppo.declaration: no such setting",
        ),
        ("[training]\n[model]\n", "settings of the older system named Keisei"),
        ("[ppo\n", "mine.toml: Expected"),
    ],
)
def test_migrate_refuses_a_file_that_it_cannot_bring_up_to_date(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    assert main(["config", "migrate", str(file), "--write"]) == 2
    assert said in capsys.readouterr().err
    assert file.read_text() == text


def test_migrate_completes_the_settings_of_a_run_and_respects_its_lock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RunDirectory.create(Settings.model_validate({"env": {"mates": 0}}), tmp_path / "run").close()
    file = tmp_path / "run" / "run.toml"
    lines = file.read_text().splitlines(keepends=True)[1:-1]
    old = "".join(line for line in lines if line != "mates = 0\n")
    file.write_text(old.replace("declaration_reward", "declaration"))
    before = read_settings(file.parent)
    lock = Lock(file.with_name("lock"))
    assert main(["config", "migrate", str(file), "--write"]) == 3
    lock.release()
    assert "is in use by pid" in capsys.readouterr().err
    assert main(["config", "migrate", str(file), "--write"]) == 0
    assert "added env.mates = 0" in capsys.readouterr().err
    assert read_settings(file.parent) == before
    assert tomllib.loads(file.read_text())["env"]["mates"] == 0
    assert file.read_text().startswith("# format: 2\n")

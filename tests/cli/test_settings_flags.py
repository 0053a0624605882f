"""``--section.key value``, ``--config`` and what is said when they can't be used."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from keisei.cli.errors import UsageError
from keisei.cli.settings import load, take_overrides


def arguments(config: str | None = None, **overrides: object) -> argparse.Namespace:
    overrides = {key.replace("__", "."): value for key, value in overrides.items()}
    return argparse.Namespace(config=config, overrides=overrides)


def test_overrides_may_stand_anywhere() -> None:
    rest, overrides = take_overrides(
        ["serve", "--ppo.gamma", "0.9", "--port", "1", "--net.blocks=4", "--run", "a.b"]
    )
    assert rest == ["serve", "--port", "1", "--run", "a.b"]
    assert overrides == {"ppo.gamma": "0.9", "net.blocks": "4"}


def test_dashes_and_lists() -> None:
    _, overrides = take_overrides(["--ppo.gae-lambda=0.5", "--server.allowed_hosts", '["a", "b"]'])
    settings = load(argparse.Namespace(config=None, overrides=overrides))
    assert settings.ppo.gae_lambda == 0.5
    assert settings.server.allowed_hosts == ("a", "b")


def test_a_negative_number_is_a_value() -> None:
    assert take_overrides(["--ppo.clip", "-1"])[1] == {"ppo.clip": "-1"}


@pytest.mark.parametrize("words", [["--ppo.gamma"], ["--ppo.gamma", "--json"]])
def test_a_missing_value_names_the_flag(words: list[str]) -> None:
    with pytest.raises(UsageError, match=r"^--ppo\.gamma: needs a value$"):
        take_overrides(words)


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[ppo]\ngamma = 0.5\nclip = 0.1\n")
    settings = load(arguments(str(file), ppo__gamma="0.75"))
    assert (settings.ppo.gamma, settings.ppo.clip) == (0.75, 0.1)


@pytest.mark.parametrize("name", ["quickstart", "quickstart.toml", "configs/quickstart.toml"])
def test_a_shipped_config_is_found_from_any_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(arguments(name)).env.games >= 1


def test_a_file_here_wins_over_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/quickstart.toml").write_text("[env]\ngames = 3\n")
    assert load(arguments("configs/quickstart.toml")).env.games == 3


@pytest.mark.parametrize("name", ["nope", "configs/nope.toml", "/nowhere/quickstart.toml"])
def test_a_missing_file_is_named(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        load(arguments(name))


def test_an_unknown_key_gets_a_hint() -> None:
    with pytest.raises(UsageError, match=r"ppo\.gama.*did you mean gamma"):
        load(arguments(ppo__gama="1"))


@pytest.mark.parametrize(
    "command",
    [
        "train --resume --run PATH",
        "serve --resume --run PATH",
        "train --init PATH",
        "evaluate PATH",
        "usi PATH",
        "ratings PATH",
        "games export PATH --format usi",
    ],
)
@pytest.mark.parametrize(
    ("path", "said"), [("nosuch", "no such file or folder"), (".", "it has no run.toml|neither")]
)
def test_a_path_without_a_run_is_told_before_torch_is_imported(
    command: str, path: str, said: str, tmp_path: Path
) -> None:
    code = (
        "import sys; from keisei.cli.main import main; code = main(sys.argv[1:]);"
        "sys.exit(99 if 'torch' in sys.modules else code)"
    )
    words = command.replace("PATH", path).split()
    ended = subprocess.run(
        [sys.executable, "-c", code, *words],
        input="isready\n", capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert ended.returncode in {1, 2}
    assert re.fullmatch(rf"keisei: {re.escape(path)}.*({said}).*\n", ended.stderr)

"""``--section.key VALUE``, ``--config``, and their error messages."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from keisei.cli.errors import UsageError
from keisei.cli.main import main
from keisei.cli.settings import load, take_overrides, whole


def arguments(*config: object, **overrides: object) -> argparse.Namespace:
    overrides = {key.replace("__", "."): value for key, value in overrides.items()}
    return argparse.Namespace(config=[*map(str, config)] or None, overrides=overrides)


def test_overrides_may_stand_anywhere() -> None:
    rest, overrides = take_overrides(
        ["serve", "--ppo.gamma", "0.9", "--port", "1", "--net.blocks=4", "--run", "a.b"]
    )
    assert rest == ["serve", "--port", "1", "--run", "a.b"]
    assert overrides == {"ppo.gamma": "0.9", "net.blocks": "4"}


def test_a_key_may_have_dashes_and_a_value_may_be_a_list() -> None:
    _, overrides = take_overrides(["--ppo.gae-lambda=0.5", "--server.allowed_hosts", '["a", "b"]'])
    settings = load(argparse.Namespace(config=None, overrides=overrides))
    assert settings.ppo.gae_lambda == 0.5
    assert settings.server.allowed_hosts == ("a", "b")


def test_a_negative_number_is_a_value_not_a_flag() -> None:
    assert take_overrides(["--ppo.clip", "-1"])[1] == {"ppo.clip": "-1"}


@pytest.mark.parametrize("words", [["--ppo.gamma"], ["--ppo.gamma", "--json"]])
def test_a_flag_without_a_value_is_named(words: list[str]) -> None:
    with pytest.raises(UsageError, match=r"^--ppo\.gamma: a value is missing$"):
        take_overrides(words)


def test_flags_override_the_file(tmp_path: Path) -> None:
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


def test_a_file_in_this_folder_hides_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/quickstart.toml").write_text("[env]\ngames = 3\n")
    assert load(arguments("configs/quickstart.toml")).env.games == 3


def test_a_later_file_overrides_single_keys(tmp_path: Path) -> None:
    low, high = tmp_path / "low.toml", tmp_path / "high.toml"
    low.write_text("[ppo]\ngamma = 0.5\nclip = 0.1\n[env]\ngames = 3\n")
    high.write_text("[ppo]\ngamma = 0.75\nepochs = 7\n")
    ppo = load(arguments(low, high)).ppo
    assert (ppo.gamma, ppo.clip, ppo.epochs) == (0.75, 0.1, 7)
    assert load(arguments(low, high)).env.games == 3
    assert load(arguments(high, low)).ppo.gamma == 0.5
    assert load(arguments("base", high)).net.channels == load(arguments("base")).net.channels != 32
    assert load(arguments(low, high, ppo__gamma="0.9")).ppo.gamma == 0.9


def test_an_error_names_the_right_one_of_several_files(tmp_path: Path) -> None:
    low, high = tmp_path / "low.toml", tmp_path / "high.toml"
    low.write_text("[ppo]\ngamma = 1.5\nclip = 1.5\n")
    high.write_text("[ppo]\ngamma = 2.5\n")
    with pytest.raises(UsageError) as error:
        load(arguments(low, high))
    named = [line.split(": must")[0] for line in str(error.value).splitlines()]
    assert named == [f"{high}: ppo.gamma", f"{low}: ppo.clip"]


@pytest.mark.parametrize("name", ["nope", "configs/nope.toml", "/nowhere/quickstart.toml"])
def test_a_missing_file_is_named(name: str) -> None:
    with pytest.raises(UsageError, match=f"^{name}: no such file or folder"):
        load(arguments(name))


@pytest.mark.parametrize(
    ("name", "near"),
    [("quikstart", "quickstart"), ("configs/bse.toml", "base"), ("h10", "h100"), ("Base", "base")],
)
def test_a_mistyped_shipped_config_gets_a_hint(name: str, near: str) -> None:
    with pytest.raises(UsageError, match=rf"no such file or folder, .*, did you mean {near}\?$"):
        load(arguments(name))


def test_a_folder_is_refused_as_a_config(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^{tmp_path}: must be a TOML file, not a folder$"):
        load(arguments(tmp_path))


def test_an_unknown_key_gets_a_hint() -> None:
    with pytest.raises(UsageError, match=r"ppo\.gama.*did you mean gamma"):
        load(arguments(ppo__gama="1"))


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["train", "--gamma", "0.9"], "--gamma, did you mean --ppo.gamma?"),
        (
            ["serve", "--learning-rate=1e-4"],
            "--learning-rate=1e-4, did you mean --ppo.learning_rate?",
        ),
        (["train", "--steps", "5"], "--steps, did you mean --run.steps or --schedule.steps?"),
        (["config", "show", "--chanels", "64"], "--chanels, did you mean --net.channels?"),
        (["warmup", "x", "--held_out", "0.2"], "--held_out, did you mean --held-out?"),
        (["bench", "loop", "--client", "2"], "--client, did you mean --clients?"),
        (["evaluate", "x", "--game", "2"], "--game, did you mean --games?"),
        (["evaluate", "x", "--clip", "2"], "--clip; see keisei evaluate --help"),
        (["train", "--zzz"], "--zzz; see keisei train --help"),
        (["train", "--ppo", "3"], "--ppo, did you mean --ppo.KEY?"),
    ],
)
def test_an_unknown_flag_gets_a_hint_at_the_setting_or_flag(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err == f"keisei: no such argument: {hint}\n"


WHOLE = [("1e6", 1_000_000), ("1_000_000", 1_000_000), ("25E2", 2500), ("1.28e2", 128)]
WHOLE += [("12345678901234567", 12345678901234567), ("3.0", 3)]


@pytest.mark.parametrize(("text", "value"), WHOLE)
def test_whole_numbers_may_have_exponents_and_underscores(
    text: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(arguments(run__steps=text)).run.steps == value
    assert whole(text) == value
    monkeypatch.setenv("KEISEI_RUN__STEPS", text)
    assert load(arguments()).run.steps == value


@pytest.mark.parametrize(
    "text", ["1.5", "1e-1", "25e-1", "1e400", "nan", "inf", "many", "", "1__0"]
)
def test_other_text_is_refused_as_a_whole_number(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = f"run.steps: must be a whole number (got {text!r})"
    with pytest.raises(UsageError, match=re.escape(f"command line: {said}")):
        load(arguments(run__steps=text))
    monkeypatch.setenv("KEISEI_RUN__STEPS", text)
    with pytest.raises(UsageError, match=re.escape(f"environment KEISEI_RUN__STEPS: {said}")):
        load(arguments())
    assert main(["evaluate", "x", f"--games={text}"]) == 2
    assert f"--games: must be a whole number (got {text!r})" in capsys.readouterr().err


def test_the_bound_of_a_whole_number_holds_in_any_notation() -> None:
    with pytest.raises(UsageError, match=r"env.games: must be less than or equal to 65536"):
        load(arguments(env__games="1e6"))


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
def test_a_path_without_a_run_is_reported_before_torch_is_imported(
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

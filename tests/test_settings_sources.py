"""Sources of settings: what can be read, and errors that a person can act on."""

from pathlib import Path

import pytest

from keisei.config import Settings, SettingsError
from keisei.settings_sources import parse_whole_number


def toml(folder: Path, text: str) -> Path:
    file = folder / "run.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"ppo.gama": 1},
            "command line: ppo.gama: no such setting, did you mean gamma? (got 1)",
        ),
        ({"ppoo.gamma": 1}, "command line: ppoo: no such setting, did you mean ppo?"),
        (
            {"ppo.gamma": "2"},
            "command line: ppo.gamma: must be less than or equal to 1 (got '2')",
        ),
        (
            {"ppo.gamma": "nan"},
            "command line: ppo.gamma: must be a finite number (got 'nan')",
        ),
        (
            {"ppo": "3"},
            "command line: ppo: is a section: set one of its keys (got '3')",
        ),
        (
            {"server.allowed_hosts": "[a,b]"},
            'command line: server.allowed_hosts: must be a list: a,b or, as JSON, ["a", "b"]',
        ),
        (
            {"evaluation.engines": "a=b"},
            "command line: evaluation.engines: must be a table, as JSON:",
        ),
        (
            {"device": "gpu"},
            "command line: device: must be auto, cpu, cuda or cuda:N (got 'gpu')",
        ),
    ],
)
def test_an_error_names_source_key_and_bound(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.load(None, overrides)
    assert str(error.value).startswith(message)


def test_all_problems_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[ppo]\ngamma = 1.5\n[env]\ngames = 0\n")
    with pytest.raises(SettingsError) as error:
        Settings.load(file)
    assert str(error.value).splitlines() == [
        f"{file}: env.games: must be greater than or equal to 1 (got 0)",
        f"{file}: ppo.gamma: must be less than or equal to 1 (got 1.5)",
    ]


@pytest.mark.parametrize("text", [None, "[ppo\n", "\xff"])
def test_an_error_names_a_file_that_cannot_be_read(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "broken.toml"
    if text is not None:
        file.write_text(text, encoding="latin-1")
    with pytest.raises(SettingsError, match=r"broken\.toml: "):
        Settings.load(file)


@pytest.mark.parametrize("name", ["KEISEI_PPO__GAMA", "KEISEI_PPO_GAMMA"])
def test_a_mistyped_environment_variable_is_an_error(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "0.9")
    with pytest.raises(SettingsError, match=f"{name}: no such setting, did you mean KEISEI_PPO__G"):
        Settings.load()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("KEISEI_PPO__GAMA", "KEISEI_PPO__GAMMA"),
        ("KEISEI__NET__BLOCKS", "KEISEI_NET__BLOCKS"),
        ("KEISEI_DEVISE", "KEISEI_DEVICE"),
        ("KEISEI_GAMMA", "KEISEI_PPO__GAMMA"),
        ("KEISEI_RUN_SEED", "KEISEI_RUN__SEED"),
        ("KEISEI_BLOCKS", "KEISEI_NET__BLOCKS"),
        ("keisei_serverport", "KEISEI_SERVER__PORT"),
    ],
)
def test_the_error_of_a_mistyped_variable_suggests_the_one_that_was_meant(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(SettingsError, match=f"environment: {name}: .*did you mean {meant}"):
        Settings.load()


@pytest.mark.parametrize(
    "text", ["[ppo]\ngamma = 0.5\n", "\n[ppo]\r\ngamma = 0.5", "ppo.gamma = 0.5"]
)
def test_a_file_with_a_byte_order_mark_is_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert Settings.load(tmp_path / "a.toml").ppo.gamma == 0.5


@pytest.mark.parametrize(
    ("text", "number"),
    [("1000000", 10**6), ("1_000_000", 10**6), ("1e6", 10**6), ("9" * 30, int("9" * 30))],
)
def test_a_whole_number_is_read_as_a_person_writes_it(text: str, number: int) -> None:
    assert parse_whole_number(text) == number


@pytest.mark.parametrize("text", ["1.5", "nan", "inf", "", "many"])
def test_other_text_is_no_whole_number(text: str) -> None:
    with pytest.raises(ValueError, match="must be a whole number"):
        parse_whole_number(text)


OLD, NEW = "ppo.declaration", "ppo.declaration_reward"


def test_an_old_name_is_read_from_every_source_with_one_warning_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = toml(tmp_path, "[ppo]\ndeclaration = 0.5\n")
    assert Settings.load(file).ppo.declaration_reward == 0.5
    monkeypatch.setenv("KEISEI_PPO__DECLARATION", "0.6")
    assert Settings.load(file).ppo.declaration_reward == 0.6
    caplog.clear()
    assert Settings.load(file, {OLD: "0.7"}).ppo.declaration_reward == 0.7
    assert caplog.messages == [
        f"{source}: {OLD} is an old name; the new name is {NEW}"
        for source in (file, "environment", "command line")
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_a_later_source_wins_whichever_name_it_uses(tmp_path: Path) -> None:
    new = toml(tmp_path, "[ppo]\ndeclaration_reward = 0.5\n")
    assert Settings.load(new, {OLD: "0.7"}).ppo.declaration_reward == 0.7
    old = toml(tmp_path, "[ppo]\ndeclaration = 0.5\n")
    assert Settings.load(old, {NEW: "0.7"}).ppo.declaration_reward == 0.7


def test_a_source_may_not_give_both_names() -> None:
    with pytest.raises(SettingsError, match=rf"line: {OLD}: no such setting, did you mean decl"):
        Settings.load(None, {OLD: "0.7", NEW: "0.7"})


def test_new_names_are_read_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert Settings.load(None, {NEW: "0.7"}).ppo.declaration_reward == 0.7
    assert not caplog.messages

"""Sources of settings: what can be read, and errors that a person can act on."""

from pathlib import Path

import pytest

from keisei.config import Settings, SettingsError
from keisei.sources import parse_whole_number


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

"""The settings tree: its defaults, its sources in order, and the guide that lists every setting."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from keisei.config import Settings, SettingsError


def test_later_sources_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[ppo]\ngamma = 0.9\nclip = 0.1\nepochs = 3\n")
    monkeypatch.setenv("KEISEI_PPO__GAMMA", "0.91")
    monkeypatch.setenv("KEISEI_PPO__CLIP", "0.11")
    ppo = Settings.load(file, {"ppo.gamma": "0.92"}).ppo
    assert (ppo.gamma, ppo.clip, ppo.epochs, ppo.minibatch) == (0.92, 0.11, 3, 1024)


def test_direct_construction_ignores_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KEISEI_PPO__GAMMA", "0.5")
    assert Settings().ppo.gamma != 0.5


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("one, two", ("one", "two")),
        ('["one", "two"]', ("one", "two")),
        ("[::1],one", ("[::1]", "one")),
        ("[fe80::1]", ("[fe80::1]",)),
        ('["[::1]"]', ("[::1]",)),
        ("[]", ()),
    ],
)
def test_a_list_is_written_with_commas_or_as_json(
    text: str, hosts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Settings.load(None, {"server.allowed_hosts": text}).server.allowed_hosts == hosts
    monkeypatch.setenv("KEISEI_SERVER__ALLOWED_HOSTS", text)
    assert Settings.load().server.allowed_hosts == hosts


def test_a_choice_of_numbers_is_read_from_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEISEI_ENV__MATES", "0")
    assert Settings.load().env.mates == 0
    assert Settings.load(overrides={"env.mates": "3"}).env.mates == 3
    with pytest.raises(SettingsError, match=r"env\.mates.* 0, 1 or 3"):
        Settings.load(overrides={"env.mates": "2"})


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().ppo.gamma = 0.5


GUIDE = Path(__file__).parents[1] / "docs/guide/configuration.md"
ROW = re.compile(
    r"^\| `(?P<key>[a-z_.]+)` \| `(?P<default>[^|]*)` \| (?P<meaning>\S.*) \|$", re.MULTILINE
)


def defaults(settings: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each dotted key and its default, as JSON and TOML write it."""
    plain = settings.model_dump(mode="json")
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from defaults(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", plain[name]


DEFAULTS = dict(defaults(Settings()))
ROWS = [match.groups() for match in ROW.finditer(GUIDE.read_text("utf-8"))]


def test_the_guide_has_one_row_for_each_setting() -> None:
    assert sorted(key for key, _, _ in ROWS) == sorted(DEFAULTS)


@pytest.mark.parametrize("key", DEFAULTS)
def test_the_guide_shows_the_default(key: str) -> None:
    (shown,) = (default for name, default, _ in ROWS if name == key)
    value = tomllib.loads(f"it = {shown}")["it"]
    assert (value, type(value) is bool) == (DEFAULTS[key], type(DEFAULTS[key]) is bool)


def descriptions(settings: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield each dotted key and its description, as `keisei config show` prints it."""
    for name, field in settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from descriptions(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.description or ""


@pytest.mark.parametrize(("key", "description"), [*descriptions(Settings)])
def test_a_description_is_one_line_and_stands_alone(key: str, description: str) -> None:
    assert description.endswith(".")
    assert "\n" not in description
    assert "..." not in description


@pytest.mark.parametrize(("key", "description"), [*descriptions(Settings)])
def test_the_guide_gives_the_description(key: str, description: str) -> None:
    (meaning,) = (meaning for name, _, meaning in ROWS if name == key)
    plain = meaning.replace("`", "")
    assert plain[0].lower() + plain[1:] + "." == description[0].lower() + description[1:]

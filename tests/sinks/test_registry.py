"""Sinks and callbacks are built by their names; broken packages are listed and harmless."""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from keisei import Callback, RunInfo, Settings, SettingsError
from keisei.sinks.registry import build_extensions, check_names


class Kept:
    """A sink and no more, without a base class."""

    name = "kept"

    def __init__(self, run: RunInfo) -> None:
        self.run = run

    async def write(self, events: Any) -> None:
        pass

    async def close(self) -> None:
        pass


class Hooks(Callback):
    def __init__(self, run: RunInfo) -> None:
        self.run = run


def nothing(run: RunInfo) -> None:
    return None


def leave(run: RunInfo) -> Kept:
    sys.exit("no licence")


POINTS = [
    EntryPoint("kept", f"{__name__}:Kept", "keisei.sinks"),
    EntryPoint("nothing", f"{__name__}:nothing", "keisei.sinks"),
    EntryPoint("leave", f"{__name__}:leave", "keisei.sinks"),
    EntryPoint("absent", "not_there:Sink", "keisei.sinks"),
    EntryPoint("tensorboard", "not_there:Sink", "keisei.sinks"),
    EntryPoint("hooks", f"{__name__}:Hooks", "keisei.callbacks"),
    EntryPoint("kept", f"{__name__}:Kept", "keisei.callbacks"),
]


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints(POINTS)
    monkeypatch.setattr("keisei.plugins.entry_points", lambda group: points.select(group=group))


def settings(**plugins: list[str]) -> Settings:
    return Settings(plugins=plugins)  # type: ignore[arg-type]


def info(path: Path, **plugins: list[str]) -> RunInfo:
    return RunInfo("mine", path, settings(**plugins), 0, lambda *alert: None)


def test_nothing_is_built_that_the_settings_do_not_name(tmp_path: Path) -> None:
    built = build_extensions(info(tmp_path))
    assert (built.sinks, built.callbacks, built.broken) == ({}, {}, {})


def test_a_sink_and_a_callback_are_built_with_the_run(tmp_path: Path) -> None:
    run = info(tmp_path, sinks=["kept", "kept"], callbacks=["hooks"])
    built = build_extensions(run)
    assert (list(built.sinks), list(built.callbacks), built.broken) == (["kept"], ["hooks"], {})
    assert built.sinks["kept"].run is built.callbacks["hooks"].run is run  # type: ignore[attr-defined]


def test_broken_packages_are_listed_and_the_others_are_built(tmp_path: Path) -> None:
    run = info(tmp_path, sinks=["nothing", "leave", "absent", "kept"], callbacks=["kept", "hooks"])
    built = build_extensions(run)
    assert (list(built.sinks), list(built.callbacks)) == (["kept"], ["hooks"])
    assert built.broken["sink nothing"].endswith("returned None, which is not a keisei.Sink")
    assert built.broken["sink leave"] == "it can't be built: SystemExit: no licence"
    assert "No module named 'not_there'" in built.broken["sink absent"]
    assert built.broken["callback kept"].endswith("which is not a keisei.Callback")


def test_a_package_cannot_replace_a_sink_of_keisei(tmp_path: Path) -> None:
    built = build_extensions(info(tmp_path, sinks=["tensorboard"]))
    assert "not_there" not in str(built.broken)


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    check_names(settings(sinks=["kept", "trackio"], callbacks=["hooks"]))
    known = "kept, nothing, leave, absent, tensorboard, trackio"
    text = f"plugins.sinks: 'trackoi' is not one of {known}, did you mean trackio?"
    with pytest.raises(SettingsError, match=re.escape(text)):
        check_names(settings(sinks=["trackoi"]))
    with pytest.raises(SettingsError, match=r"plugins\.callbacks: 'trackio' is not one of hooks"):
        check_names(settings(callbacks=["trackio"]))


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make Python believe that TensorBoard and trackio are not installed."""
    for name in [*sys.modules]:
        if name.partition(".")[0] in {"tensorboard", "trackio"}:
            monkeypatch.delitem(sys.modules, name)
    for name in ("keisei.sinks.tensorboard", "keisei.sinks.trackio"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    yield
    for name in ("keisei.sinks.tensorboard", "keisei.sinks.trackio"):
        sys.modules.pop(name, None)


class Absent:
    """Finds no module of TensorBoard and trackio."""

    def find_spec(self, name: str, *rest: Any) -> None:
        if name.partition(".")[0] in {"tensorboard", "trackio"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("name", ["tensorboard", "trackio"])
def test_a_missing_package_is_told_with_the_command_that_installs_it(
    name: str, tmp_path: Path
) -> None:
    built = build_extensions(info(tmp_path, sinks=[name]))
    assert built.broken[f"sink {name}"].endswith(f"run pip install 'keisei[{name}]'")

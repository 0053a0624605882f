"""Builds the sinks and callbacks that the settings name.

A package adds a sink or a callback by an entry point in the group ``keisei.sinks`` or
``keisei.callbacks``. The entry point refers to a callable that takes a ``RunInfo`` and returns a
``Sink`` or a ``Callback``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any, Literal

from keisei.config import Settings, SettingsError
from keisei.feed.callbacks import Callback
from keisei.feed.sinks import RunInfo, Sink
from keisei.plugins import installed, no_such_name
from keisei.sinks.wandb import WandbSink

GROUPS = {"sinks": "keisei.sinks", "callbacks": "keisei.callbacks"}
"""Groups of entry points by the settings that name their plugins."""
_OWN = [
    EntryPoint("tensorboard", "keisei.sinks.tensorboard:TensorBoardSink", GROUPS["sinks"]),
    EntryPoint("trackio", "keisei.sinks.trackio:TrackioSink", GROUPS["sinks"]),
]


@dataclass(frozen=True, slots=True)
class Extensions:
    """The sinks and callbacks that the settings of a run name."""

    sinks: Mapping[str, Sink]
    callbacks: Mapping[str, Callback]
    broken: Mapping[str, str]
    """Reasons why plugins could not be built, by names such as ``sink tensorboard``."""


def check_names(settings: Settings) -> None:
    """Raise SettingsError if the settings name a sink or callback that is not installed."""
    for key, names in settings.plugins:
        known = _known(key)
        for name in names:
            if name not in known:
                raise SettingsError(no_such_name(f"plugins.{key}", name, tuple(known)))


def build_extensions(run: RunInfo) -> Extensions:
    """Import and build the sinks and callbacks that the settings of ``run`` name. Blocks.

    If a package's code fails, the run continues, and ``broken`` lists the failure.
    """
    broken: dict[str, str] = {}
    sinks = _build("sinks", Sink, run, broken)
    if run.settings.wandb.mode != "disabled":
        sinks["wandb"] = WandbSink(run.settings, run.path, run.alert)
    return Extensions(sinks, _build("callbacks", Callback, run, broken), broken)


def _known(key: str) -> dict[str, EntryPoint]:
    """Return the plugins that the setting ``plugins.key`` can name.

    Keisei's own plugins replace installed plugins of the same name.
    """
    group = GROUPS[key]
    return installed(group) | {own.name: own for own in _OWN if own.group == group}


def _build(
    key: Literal["sinks", "callbacks"], kind: Any, run: RunInfo, broken: dict[str, str]
) -> dict[str, Any]:
    """Build the plugins that ``plugins.key`` names. The plugins must be instances of ``kind``."""
    known = _known(key)
    built = {}
    for name in dict.fromkeys(getattr(run.settings.plugins, key)):  # a repeated name counts once
        part = f"{key.removesuffix('s')} {name}"
        try:
            plugin = known[name].load()(run)
            if isinstance(plugin, kind):
                built[name] = plugin
            else:
                where = f"{known[name].value} returned {plugin!r}"
                broken[part] = f"{where}, which is not a keisei.{kind.__name__}"
        except (Exception, SystemExit) as error:  # noqa: BLE001 (a package may raise anything)
            broken[part] = f"it can't be built: {type(error).__name__}: {error}"
    return built

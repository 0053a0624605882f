"""Keisei trains a shogi agent by PPO self-play inside one asyncio application.

>>> from keisei import Keisei, Settings  # doctest: +SKIP
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keisei.config import Settings, SettingsError
    from keisei.errors import InboxFull, NotRunning, TrainingFailed
    from keisei.evaluation.openings import choose_openings, load_openings
    from keisei.evaluation.spec import EvaluationSpec
    from keisei.evaluation.strategies import Pairing, Strategy
    from keisei.events import (
        Alert,
        Board,
        Evaluation,
        Event,
        Failed,
        Game,
        Iteration,
        Log,
        Reset,
        Status,
    )
    from keisei.feed.callbacks import Callback
    from keisei.feed.sinks import BlockingSink, RunInfo, Sink
    from keisei.nets.network import Network
    from keisei.play.arena import local_arena
    from keisei.play.game_report import analyse
    from keisei.play.players import load
    from keisei.play.tournament import Tournament
    from keisei.process import prepare_process
    from keisei.runtime.session import Keisei
    from keisei.usi import Engine, EngineSpec

__all__ = [
    "Alert",
    "BlockingSink",
    "Board",
    "Callback",
    "Engine",
    "EngineSpec",
    "Evaluation",
    "EvaluationSpec",
    "Event",
    "Failed",
    "Game",
    "InboxFull",
    "Iteration",
    "Keisei",
    "Log",
    "Network",
    "NotRunning",
    "Pairing",
    "Reset",
    "RunInfo",
    "Settings",
    "SettingsError",
    "Sink",
    "Status",
    "Strategy",
    "Tournament",
    "TrainingFailed",
    "analyse",
    "choose_openings",
    "load",
    "load_openings",
    "local_arena",
    "prepare_process",
]

_HOMES = {
    "keisei.config": ("Settings", "SettingsError"),
    "keisei.evaluation.openings": ("choose_openings", "load_openings"),
    "keisei.evaluation.spec": ("EvaluationSpec",),
    "keisei.evaluation.strategies": ("Pairing", "Strategy"),
    "keisei.events": (
        "Alert",
        "Board",
        "Evaluation",
        "Event",
        "Failed",
        "Game",
        "Iteration",
        "Log",
        "Reset",
        "Status",
    ),
    "keisei.feed.callbacks": ("Callback",),
    "keisei.feed.sinks": ("BlockingSink", "RunInfo", "Sink"),
    "keisei.errors": ("InboxFull", "NotRunning", "TrainingFailed"),
    "keisei.nets.network": ("Network",),
    "keisei.play.arena": ("local_arena",),
    "keisei.play.game_report": ("analyse",),
    "keisei.play.players": ("load",),
    "keisei.play.tournament": ("Tournament",),
    "keisei.process": ("prepare_process",),
    "keisei.runtime.session": ("Keisei",),
    "keisei.usi": ("Engine", "EngineSpec"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562), to keep ``import keisei`` fast."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Which settings a resumed run runs with."""

from typing import Any

from keisei.config import Settings

MAY_CHANGE = (
    "run.root",  # says where to look for the run, nothing about it
    "run.steps",
    "run.minutes",
    "run.checkpoint_seconds",
    "run.checkpoints_kept",
    "server",
    "log",
    "evaluation",
)
"""Settings, or whole sections, that may differ on ``--resume``. All others are the run's own."""

_DECIDED = {"device": "auto", "compute.dtype": "auto", "compute.threads": 0}


def resumed_settings(kept: Settings, given: Settings) -> tuple[Settings, list[str]]:
    """The kept settings with those explicitly given ones that may change.

    Also the dotted keys that were given, differ and were ignored, to be told to the user. Explicit
    is what a file, the environment or a flag named (pydantic's ``model_fields_set``).
    """
    tree = kept.model_dump()
    ignored = []
    for path, value in _explicit(given):
        section = tree if len(path) == 1 else tree[path[0]]
        key = ".".join(path)
        if key in MAY_CHANGE or path[0] in MAY_CHANGE:
            section[path[-1]] = value
        elif value not in (section[path[-1]], _DECIDED.get(key)):
            ignored.append(key)
    return Settings(**tree), ignored


def _explicit(settings: Settings) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for name in sorted(settings.model_fields_set):
        value = getattr(settings, name)
        if hasattr(value, "model_fields_set"):
            found += [((name, key), getattr(value, key)) for key in sorted(value.model_fields_set)]
        else:
            found.append(((name,), value))
    return found

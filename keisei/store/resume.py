"""The settings of a resumed run: the run's own settings with the changes that are allowed."""

from typing import Any

from keisei.config import Settings

MAY_CHANGE = (
    "run.root",  # says only where Keisei looks for the run
    "run.steps",
    "run.minutes",
    "run.checkpoint_seconds",
    "run.checkpoints_kept",
    "run.checkpoints_every_steps",
    "server",
    "plugins",
    "log",
    "evaluation",
    "wandb",
)
"""Settings and whole sections that may change on ``--resume``. All other settings stay."""

_DECIDED = {"device": "auto", "compute.dtype": "auto", "compute.threads": 0}
"""Values that leave the choice to Keisei. They never conflict with the values in ``run.toml``."""


def resumed_settings(kept: Settings, given: Settings) -> tuple[Settings, list[str]]:
    """Merge the settings of a run with the settings that are given on ``--resume``.

    Only explicit settings are merged. A setting is explicit if a file, the environment or a flag
    gives it (pydantic's ``model_fields_set``).

    Args:
        kept: the settings in ``run.toml``.
        given: the settings that are given on ``--resume``.

    Returns:
        The merged settings, and the dotted keys of the ignored settings. An explicit setting is
        ignored if it differs from ``kept`` but may not change. The caller shows the keys of these
        settings to the user.
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
    """Return the paths and values of the settings that were given explicitly."""
    found: list[tuple[tuple[str, ...], Any]] = []
    for name in sorted(settings.model_fields_set):
        value = getattr(settings, name)
        if hasattr(value, "model_fields_set"):
            found += [((name, key), getattr(value, key)) for key in sorted(value.model_fields_set)]
        else:
            found.append(((name,), value))
    return found

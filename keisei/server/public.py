"""The settings and checkpoints as a client may see them."""

from pathlib import Path
from typing import Any

from keisei.config import Settings
from keisei.server.hosts import is_public

_PUBLIC = frozenset(
    {"device", "schedule", "env", "net", "ppo", "opponents", "detectors", "compute"}
)
"""Sections that describe the training and name no file, engine or account."""


def visible_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON values; on a public board, only those about the training."""
    shown = settings.model_dump(mode="json")
    if is_public(settings.server):
        return {name: value for name, value in shown.items() if name in _PUBLIC}
    return shown


def visible_checkpoints(settings: Settings, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the checkpoints; on a public board, without the names of the server's folders."""
    if not is_public(settings.server):
        return found
    names = [{**item, "path": Path(item["path"]).name} for item in found]
    return [item | ({"error": "damaged"} if "error" in item else {}) for item in names]

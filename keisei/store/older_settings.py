"""Completes the settings of runs that earlier versions of Keisei made."""

from typing import Any

LACKING: dict[str, Any] = {
    "env.mates": 0,
    "ppo.declaration_reward": 1.0,
    "opponents.share": 0.0,
    "opponents.every": 50,
    "opponents.recent": 4,
    "opponents.history": 12,
    "opponents.active": 2,
    "detectors.entropy_collapse": "alert",
    "detectors.entropy_swamp": "alert",
    "detectors.draws": "alert",
    "detectors.declarations": "alert",
    "detectors.truncation": "alert",
    "detectors.value_useless": "alert",
    "detectors.explained_variance": "alert",
    "detectors.first_mover": "alert",
    "detectors.ratio": "alert",
    "detectors.nonfinite": "alert",
    "detectors.nonfinite_stop": 10,
    "detectors.rollbacks": 3,
}
"""Settings of training that the first ``run.toml`` lacks, with values for what that version did.

These values stay as they are when a default changes. ``env.reset_share_final`` is not in the table,
because the first versions never changed ``env.reset_share``.
"""


def complete(tree: dict[str, Any]) -> None:
    """Add the settings that ``tree``, the contents of a ``run.toml``, lacks.

    Settings that a resume may change are not added; they get their defaults.
    """
    lacking = dict(LACKING)
    env = tree.get("env")
    if isinstance(env, dict) and "reset_share" in env:
        lacking["env.reset_share_final"] = env["reset_share"]
    for key, value in lacking.items():
        section, name = key.split(".")
        keys = tree.setdefault(section, {})
        if isinstance(keys, dict):  # validation refuses any other value
            keys.setdefault(name, value)

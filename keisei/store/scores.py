"""The newest scores of a run's networks, from its evaluations."""

from collections.abc import Iterable
from typing import Any


def newest_scores(
    evaluations: Iterable[dict[str, Any]], until: int | None = None
) -> list[dict[str, Any]]:
    """Return the newest score of a run's networks against each opponent, newest score first.

    Args:
        evaluations: the result of ``RunReader.evaluations``.
        until: largest step of a network whose scores are returned; None means all steps.

    Returns:
        For each score ``agent``, ``step``, ``opponent``, ``games``, ``score``, ``interval`` (95 %),
        ``mode`` (how the agent chose its moves) and ``time``. Scores with different modes are
        different scores.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for evaluation in evaluations:
        if evaluation["state"] != "done":
            continue
        result = evaluation.get("result") or {}
        for match in result.get("matches", [result]):
            score = _score(evaluation, match)
            if score and (until is None or score["step"] <= until):
                found.setdefault((score["opponent"], score["mode"]), score)
    return list(found.values())


def _score(evaluation: dict[str, Any], match: dict[str, Any]) -> dict[str, Any] | None:
    """Return a match of one of the run's networks as a score; None for any other match."""
    agent, _, mode = str(match.get("agent", "")).partition(" ")
    name, _, step = agent.rpartition("@")
    if name != evaluation.get("run") or not step.isdecimal() or "interval" not in match:
        return None
    return {
        "agent": agent,
        "step": int(step),
        "opponent": match["opponent"],
        "games": match["games"],
        "score": match["score"],
        "interval": match["interval"],
        "mode": mode or "sampled",
        "time": evaluation["finished"],
    }

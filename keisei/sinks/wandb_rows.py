"""Turns events into rows for W&B."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keisei.events import Evaluation, Event, Iteration


@dataclass(frozen=True, slots=True)
class Row:
    """Values that belong together, for one call of W&B's ``log``."""

    step: int
    """Step of the run when the values were measured or published."""
    values: dict[str, float]
    """Values by the names that W&B shows, such as ``train/kl``; a value may be NaN."""
    evaluation: str = ""
    """Id of the evaluation; empty for the row of an iteration."""


def to_row(event: Event) -> Row | None:
    """Return the row of an iteration or of an ended evaluation; None for other events."""
    if isinstance(event, Iteration):
        values = {name: x for name, x in event.values.items() if not name.startswith("eval/")}
        axes = {"train/step": event.step, "train/iteration": event.iteration}
        return Row(event.step, axes | values)
    if isinstance(event, Evaluation) and event.state == "done" and event.result:
        return evaluation_row(event.to_dict())
    return None


def evaluation_row(fields: Mapping[str, Any]) -> Row:
    """Return the row of an evaluation from its fields, whose ``result`` must not be empty.

    The row has the score and Elo over all games, and the score in each match. In the row of a
    promotion test, the values have other names, because W&B would otherwise show the test as the
    newest evaluation.
    """
    result, step = fields["result"], fields["step"]
    group = "eval/promotion" if (fields["spec"] or {}).get("promote") else "eval"
    low, high = result.get("interval") or (None, None)
    found = {"score": result.get("score"), "elo": result.get("elo")}
    found |= {"score_low": low, "score_high": high, "games": result.get("games")}
    for match in result.get("matches", []):
        if match["agent"] == result["agent"]:
            found[f"score_against/{match['opponent']}"] = match.get("score")
    measured = fields["measured"]
    axis = {"eval/step": step if measured is None else measured}
    values = {f"{group}/{name}": x for name, x in found.items() if x is not None}
    return Row(step, axis | values, fields["id"])

"""``FakeReader``: keeps the data of a fake run in memory instead of on disk."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from keisei.events import Alert, Iteration
from keisei.store.matches import PLAYED, MatchGame
from keisei.testing.games import scripted_game

STEPS = 4096
"""Number of steps in an iteration."""
GAMES = 3
"""Number of recorded games."""


class FakeReader:
    """A replacement for ``keisei.store.RunReader`` that returns made-up data from memory."""

    path: Path | None = None
    """Directory of the run: None, because a fake run writes no files."""

    def __init__(self) -> None:
        self.iterations: list[Iteration] = []
        self.alerts: list[Alert] = []
        self.played: list[dict[str, Any]] = []
        """Games that people played, oldest first."""

    def metrics(
        self,
        keys: Sequence[str] | None = None,
        start: int | None = None,
        end: int | None = None,
        max_points: int = 2000,
        after: int | None = None,
    ) -> dict[str, Any]:
        """Return the history of metrics, with at most ``max_points`` iterations.

        A longer history is thinned evenly, for example to every second or every third iteration.
        """
        chosen = [
            item
            for item in self.iterations
            if (start is None or item.step >= start)
            and (end is None or item.step <= end)
            and (after is None or item.iteration > after)
        ]
        chosen = chosen[:: max(1, math.ceil(len(chosen) / max_points))]
        recorded = {name: None for item in self.iterations for name in item.values}
        names = list(recorded) if keys is None else keys
        cursor = self.iterations[-1].iteration if self.iterations else 0
        return {
            "series": {name: _column(name, chosen) for name in names},
            "nonfinite": [],
            "cursor": cursor,
        }

    def games(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Return recorded games, newest first."""
        games = [self.game(id) for id in range(GAMES, 0, -1) if after is None or id < after]
        return [game for game in games if game][:limit]

    def game(self, id: int) -> dict[str, Any] | None:
        """Return one recorded game, or None if no game has this id."""
        if not 1 <= id <= GAMES:
            return None
        moves = [usi for _, usi in scripted_game(id)][1:]
        return {
            "id": id,
            "step": id * STEPS,
            "time": 0.0,
            "result": "capped",
            "reason": "max_ply",
            "plies": len(moves),
            "black": "self",
            "white": "self",
            "record": f"startpos moves {' '.join(str(usi) for usi in moves)}",
        }

    def events(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Return alerts, newest first."""
        found = [
            {**alert.to_dict(), "id": id, "topic": "alert", "event": "alert"}
            for id, alert in enumerate(self.alerts, 1)
            if after is None or id < after
        ]
        return found[::-1][:limit]

    def checkpoints(self) -> list[dict[str, Any]]:
        """Return no checkpoints, because a fake run writes no files."""
        return []

    def ratings(self) -> list[dict[str, Any]]:
        """Return no ratings, because a fake evaluation stores no games."""
        return []

    def match_games(
        self, evaluation: str | None = None, limit: int = 100, after: int | None = None
    ) -> list[dict[str, Any]]:
        """Return games that people played. A fake evaluation stores no games."""
        played = self.played if evaluation == PLAYED else []
        found = [game for game in reversed(played) if after is None or game["id"] < after]
        return [_without_moves(game) for game in found[:limit]]

    def match_game(self, evaluation: str, number: int) -> dict[str, Any] | None:
        """Return a game that a person played. A fake evaluation plays no games."""
        known = evaluation == PLAYED and 1 <= number <= len(self.played)
        return self.played[number - 1] if known else None

    def keep(self, game: MatchGame) -> int:
        """Keep a game that a person played, and return its number."""
        number = len(self.played) + 1
        fields = {"id": number, "evaluation": PLAYED, **asdict(game), "number": number}
        self.played.append({**fields, "values": list(game.values)})
        return number


def _without_moves(game: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in game.items() if name not in {"moves", "values"}}


def _column(name: str, iterations: list[Iteration]) -> dict[str, list[Any]]:
    held = [item for item in iterations if name in item.values]
    return {
        "iteration": [item.iteration for item in held],
        "step": [item.step for item in held],
        "time": [item.time for item in held],
        "value": [item.values[name] for item in held],
    }

"""Ratings of a run's players: one fit over all games of its evaluations."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from keisei.evaluation.ratings import Outcome, Ratings, rate
from keisei.store import RunReader
from keisei.store.matches import MatchTable, Rating


def rate_all(games: Sequence[Outcome]) -> Ratings:
    """Rate the players of one game or more; ``random`` has 0 Elo, or the first player if it is not met."""
    names = [name for game in games for name in (game.black, game.white)]
    return rate(games, anchor="random" if "random" in names else names[0])


def refit(run: Path) -> Ratings | None:
    """Rate all players anew and keep it; None before the first game. Blocking; raises DatabaseError."""
    outcomes = RunReader(run).outcomes()
    if not outcomes:
        return None
    ratings = rate_all([Outcome(*outcome) for outcome in outcomes])
    rows = [
        Rating(
            player=found.player,
            elo=found.elo,
            low=found.interval[0],
            high=found.interval[1],
            games=found.games,
        )
        for found in ratings.players
    ]
    with closing(MatchTable(run)) as table:
        table.save_ratings(rows)
    return ratings

"""Ratings of all players from all their games at once.

The model is R. R. Davidson's (1970, JASA 65:317) extension of Bradley and Terry's with the order
term of Davidson and R. J. Beaver (1977, Biometrics 33:693): the odds of a win of the first player,
a draw and a win of the second are exp(d/2) : v : exp(-d/2), where d is the difference of the
strengths and the worth of the first move. Davidson's rather than Rao and Kupper's, because in it a
draw is exactly half a win and half a loss, as in our score, and because its log-likelihood is
concave: one maximum, and Newton's steps find it.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keisei.evaluation.statistics import Z95

_ELO = 400 / math.log(10)  # Elo of one unit of strength where nothing is drawn

# The weak Gaussian prior: (mean, standard deviation). It costs a player 1,000 Elo off the mean a
# sixth of a point, keeps the ratings of the unbeaten finite, and bounds the draw term.
_PLAYER = 0.0, 1000 / _ELO
_FIRST = 0.0, 200 / _ELO
_LOG_DRAW = -2.0, 2.0

Basis = Literal["games", "one-sided", "prior"]
Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]


class GameScore(NamedTuple):
    """One game."""

    black: str
    """Who moved first."""
    white: str
    score: float
    """Black's: 1, 1/2 or 0."""
    pair: Hashable = None
    """Games with the same value share an opening; None: with no other. ``bootstrap`` reads it."""


@dataclass(frozen=True, slots=True)
class Rating:
    """One player's line of the table."""

    player: str
    elo: float
    interval: tuple[float, float]
    """95 %, of the difference to the anchor."""
    games: int
    """One against itself counts twice."""
    score: float
    """Points a game."""
    basis: Basis
    """What ties the player to the anchor. ``games``: along chains of games points went both ways.
    ``one-sided``: there are chains of games, but along none of them did points go both ways, as with
    the unbeaten: that there is a difference is known, its size rests on the prior. ``prior``: not a
    single chain: the number says nothing of who is stronger, and the interval is as wide."""


@dataclass(frozen=True, slots=True)
class Ratings:
    """The table, the strongest player first."""

    anchor: str
    """At 0 Elo."""
    players: tuple[Rating, ...]
    first_move: float
    """What moving first is worth, Elo."""
    first_move_interval: tuple[float, float]
    """95 %"""
    draws: float
    """Share of draws between equals."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        for line in (found, *found["players"]):
            line.update({key: list(it) for key, it in line.items() if isinstance(it, tuple)})
        return found


def rate(games: Sequence[GameScore], anchor: str = "random") -> Ratings:
    """Joint ratings of the players of one game or more, the anchor fixed at 0 Elo.

    Elo is 400 / ln 10 times the difference in strength times 1 - ``draws``: like BayesElo's scale,
    so that near equality a difference predicts the same score as in the logistic formula. Intervals
    are from the curvature at the maximum (Hessian) and take games for independent, given players
    and seats; ``bootstrap`` does not.

    Raises ValueError if the anchor has no game, or a score is not 1, 1/2 or 0.
    """
    table = _read(games, anchor)
    found, covariance = _fit(table.design, table.cells())
    elo, gradient = _elo(found, table.anchor)
    error = Z95 * np.sqrt(np.einsum("ij,jk,ik->i", gradient, covariance, gradient))
    played, points = table.seats()
    basis = _basis(table)
    lines = [
        Rating(
            player=name,
            elo=float(elo[i]),
            interval=(float(elo[i] - error[i]), float(elo[i] + error[i])),
            games=int(played[i]),
            score=float(points[i] / played[i]),
            basis=basis[i],
        )
        for i, name in enumerate(table.names)
    ]
    first, draw = float(elo[-1]), math.exp(found[-1])
    return Ratings(
        anchor=anchor,
        players=tuple(sorted(lines, key=lambda line: -line.elo)),
        first_move=first,
        first_move_interval=(first - float(error[-1]), first + float(error[-1])),
        draws=draw / (2 + draw),
    )


def bootstrap(
    games: Sequence[GameScore], anchor: str = "random", samples: int = 200, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % intervals of the ratings without the model's independence: a check of ``rate``'s.

    The pairs are drawn anew, with replacement, and rated (percentile bootstrap, B. Efron 1979,
    Annals of Statistics 7:1). Raises ValueError as ``rate``.
    """
    table = _read(games, anchor)
    rng = np.random.default_rng(seed)
    pairs = int(table.pair.max()) + 1
    drawn = np.empty((samples, len(table.names)))
    for sample in drawn:
        times = np.bincount(rng.integers(pairs, size=pairs), minlength=pairs)
        found, _ = _fit(table.design, table.cells(times[table.pair]))
        sample[:] = _elo(found, table.anchor)[0][:-1]
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(table.names)}


@dataclass(frozen=True, slots=True)
class _Table:
    """Games as arrays. A cell is a player as black against a player as white."""

    names: list[str]
    anchor: int
    black: NDArray[np.intp]  # [G], of names
    white: NDArray[np.intp]  # [G]
    score: Floats  # [G], black's
    pair: NDArray[np.intp]  # [G]
    cell: NDArray[np.intp]  # [G]
    design: Floats  # [C, P + 1]: the difference of a cell from strengths and first move

    def cells(self, weight: NDArray[Any] | None = None) -> NDArray[Any]:
        """[C, 3]: how often white won, nobody did, black won."""
        kind = (2 * self.score).astype(np.intp)
        return np.bincount(self.cell * 3 + kind, weight, 3 * len(self.design)).reshape(-1, 3)

    def seats(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Games and points of each player: [P], [P]."""
        who, n = np.concatenate([self.black, self.white]), len(self.names)
        points = np.concatenate([self.score, 1 - self.score])
        return np.bincount(who, minlength=n), np.bincount(who, points, n)


def _read(games: Sequence[GameScore], anchor: str) -> _Table:
    names = sorted({game.black for game in games} | {game.white for game in games})
    if anchor not in names:
        raise ValueError(f"anchor: a player with games (got {anchor!r})")
    score = np.array([game.score for game in games], np.float64)
    if not np.isin(score, (0, 0.5, 1)).all():
        raise ValueError(f"score: 1, 0.5 or 0 (got {score[~np.isin(score, (0, 0.5, 1))][0]})")
    index = {name: i for i, name in enumerate(names)}
    black = np.array([index[game.black] for game in games])
    white = np.array([index[game.white] for game in games])
    pairs: dict[Hashable, int] = {}
    pair = [
        pairs.setdefault(("game", i) if game.pair is None else ("pair", game.pair), len(pairs))
        for i, game in enumerate(games)
    ]
    kinds, cell = np.unique(black * len(names) + white, return_inverse=True)
    design = np.zeros((len(kinds), len(names) + 1))
    rows = np.arange(len(kinds))
    design[rows, kinds // len(names)] += 1
    design[rows, kinds % len(names)] -= 1  # a game against itself says nothing of strength
    design[:, -1] = 1
    return _Table(names, index[anchor], black, white, score, np.array(pair), cell, design)


def _fit(design: Floats, count: NDArray[Any]) -> tuple[Floats, Floats]:
    """Most probable strengths, worth of the first move and log v [P + 2], and their covariance.

    Newton's steps, halved until they climb: the function is strictly concave, so they arrive.
    """
    players = design.shape[1] - 1
    mean, deviation = np.array([_PLAYER] * players + [_FIRST, _LOG_DRAW]).T
    found = mean.copy()
    value, gradient, curvature = _posterior(design, count, found, mean, deviation)
    for _ in range(100):
        step = np.linalg.solve(curvature, gradient)
        if gradient @ step < 1e-12:
            break
        while True:
            state = _posterior(design, count, found + step, mean, deviation)
            if state[0] >= value - 1e-10 * (1 + abs(value)):  # but for rounding
                break
            step /= 2
        found += step
        value, gradient, curvature = state
    return found, np.linalg.inv(curvature)


def _posterior(
    design: Floats, count: NDArray[Any], at: Floats, mean: Floats, deviation: Floats
) -> tuple[float, Floats, Floats]:
    """Log-posterior, its gradient and its negative second derivatives."""
    difference = design @ at[:-1]
    logits = np.stack([-difference / 2, np.full_like(difference, at[-1]), difference / 2], 1)
    top = logits.max(1, keepdims=True)
    log_p = logits - top - np.log(np.exp(logits - top).sum(1, keepdims=True))
    white, draw, black = np.exp(log_p).T
    games = count.sum(1)
    lead, prior = black - white, (at - mean) / deviation
    value = float((count * log_p).sum() - (prior**2).sum() / 2)
    by_difference = (count[:, 2] - count[:, 0] - games * lead) / 2
    by_draw = count[:, 1] - games * draw
    gradient = np.append(design.T @ by_difference, by_draw.sum()) - prior / deviation
    curvature = np.diag(deviation**-2.0)
    curvature[:-1, :-1] += design.T @ (design * (games * (1 - draw - lead**2) / 4)[:, None])
    cross = -design.T @ (games * draw * lead / 2)
    curvature[:-1, -1] += cross
    curvature[-1, :-1] += cross
    curvature[-1, -1] += games @ (draw * (1 - draw))
    return value, gradient, curvature


def _elo(found: Floats, anchor: int) -> tuple[Floats, Floats]:
    """Elo of the players and of the first move [P + 1], and the gradient [P + 1, P + 2]."""
    draw = math.exp(found[-1])
    unit = _ELO * 2 / (2 + draw)  # 1 - the share of draws between equals
    gradient = np.eye(len(found) - 1, len(found))
    gradient[:-1, anchor] -= 1
    elo = unit * (gradient @ found)
    gradient *= unit
    gradient[:, -1] = -elo * draw / (2 + draw)
    return elo, gradient


def _basis(table: _Table) -> list[Basis]:
    """For each player, what ties it to the anchor.

    L. R. Ford (1957, American Mathematical Monthly 64:28): without a prior the difference of two
    players is finite exactly where chains of points lead from each to the other.
    """
    n = len(table.names)
    scored = np.zeros((n, n), np.bool_)
    scored[table.black[table.score > 0], table.white[table.score > 0]] = True
    scored[table.white[table.score < 1], table.black[table.score < 1]] = True
    chains, met = _closure(scored), _closure(scored | scored.T)
    both = chains[table.anchor] & chains[:, table.anchor]
    either = met[table.anchor]
    return ["games" if both[i] else "one-sided" if either[i] else "prior" for i in range(n)]


def _closure(linked: Bools) -> Bools:
    """Who is reached from whom by any number of links, none included: [P, P]."""
    reached = linked | np.eye(len(linked), dtype=np.bool_)
    for _ in range(len(linked).bit_length()):
        reached = reached @ reached
    return reached

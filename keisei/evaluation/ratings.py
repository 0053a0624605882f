"""Ratings of all players, fitted to all of their games at once.

The model is R. R. Davidson's (1970, JASA 65:317) extension of the Bradley-Terry model, with the
term for the first move from Davidson and R. J. Beaver (1977, Biometrics 33:693). The probabilities
that black wins, that the game is a draw, and that white wins are proportional to exp(d/2), v and
exp(-d/2). Here d is black's strength minus white's strength, plus the worth of the first move
(black moves first). The parameter v determines the share of draws.

Davidson's model has two advantages over the model of Rao and Kupper. First, a draw is worth exactly
half a win and half a loss, as in Keisei's score. Second, the log-likelihood is concave. With a
Gaussian prior, the log-posterior therefore has a single maximum. Newton's method finds this
maximum.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keisei.evaluation.statistics import Z95

_ELO = 400 / math.log(10)  # Elo of one unit of strength if there are no draws

# Means and standard deviations of the weak Gaussian prior. If a rating is 1,000 Elo above the
# mean, the prior lowers the rating as much as the loss of 1/6 point does. Without the prior, the
# rating of a player that won all games would be infinite. If no game were a draw, log v would be
# infinite, too.
_PLAYER = 0.0, 1000 / _ELO
_FIRST = 0.0, 200 / _ELO
_LOG_DRAW = -2.0, 2.0

Basis = Literal["games", "one-sided", "prior"]
Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]


class GameScore(NamedTuple):
    """The score of one game between two players."""

    black: str
    """Name of the player that moved first."""
    white: str
    score: float
    """Black's points: 1, 1/2 or 0."""


@dataclass(frozen=True, slots=True)
class Rating:
    """The rating of one player."""

    player: str
    elo: float
    interval: tuple[float, float]
    """95 % confidence interval of the Elo difference between the player and the anchor."""
    games: int
    """Number of the player's games. A game of the player against itself counts twice."""
    score: float
    """Points per game."""
    basis: Basis
    """How the games connect the player to the anchor.

    A chain connects two players if each player in the chain played against the next player. In a
    scoring chain, each player also won or drew a game against the next player.

    ``games``: a scoring chain leads from the player to the anchor, and another scoring chain
    leads back.
    ``one-sided``: chains connect the two players, but scoring chains lead in at most one direction;
    for example, the player won all games. Then the prior determines the size of the Elo difference.
    ``prior``: no chain connects the two players. Then the rating does not show which of the two is
    stronger, and the interval is very wide."""


@dataclass(frozen=True, slots=True)
class Ratings:
    """The ratings of all players, sorted from the strongest to the weakest."""

    anchor: str
    """Name of the player whose rating is 0 Elo."""
    players: tuple[Rating, ...]
    first_move: float
    """Worth of the first move, in Elo."""
    first_move_interval: tuple[float, float]
    """95 % confidence interval of ``first_move``."""
    draws: float
    """Expected share of draws in games between equal players."""

    def to_dict(self) -> dict[str, Any]:
        """Return the ratings as a dict for JSON."""
        fields = asdict(self)
        for line in (fields, *fields["players"]):
            line.update({key: list(it) for key, it in line.items() if isinstance(it, tuple)})
        return fields


def rate(games: Sequence[GameScore], anchor: str = "random") -> Ratings:
    """Fit the ratings of all players to ``games`` (one or more). The anchor has 0 Elo.

    As in BayesElo, the Elo difference of two players is the difference of their strengths times
    400 / ln 10 times (1 - ``draws``). Therefore the logistic formula predicts nearly the right
    score for two nearly equal players. The intervals come from the Hessian at the maximum of the
    log-posterior. These intervals are right only if the players and their seats alone determine the
    probabilities of results. If openings also influence the results, the intervals can be too
    narrow or too wide.

    Raises ValueError if the anchor has no game, or a score is not 1, 1/2 or 0.
    """
    table = _read(games, anchor)
    found, covariance = _fit(table.design, table.count_results())
    elo, gradient = _elo(found, table.anchor)
    error = Z95 * np.sqrt(np.einsum("ij,jk,ik->i", gradient, covariance, gradient))
    played, points = table.count_points()
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


@dataclass(frozen=True, slots=True)
class _Games:
    """G games between P players, as arrays. Each of the C cells is a pair (black, white)."""

    names: list[str]
    anchor: int
    black: NDArray[np.intp]  # [G], black's index in names
    white: NDArray[np.intp]  # [G], white's index in names
    score: Floats  # [G], black's points
    cell: NDArray[np.intp]  # [G], row of ``design`` that belongs to the game
    design: Floats  # [C, P + 1]: d of each cell is design @ (strengths, worth of the first move)

    def count_results(self) -> NDArray[Any]:
        """Count the wins of white, the draws, and the wins of black in each cell: [C, 3]."""
        kind = (2 * self.score).astype(np.intp)
        return np.bincount(self.cell * 3 + kind, None, 3 * len(self.design)).reshape(-1, 3)

    def count_points(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the number of games [P] and the points [P] of each of the P players."""
        who, n = np.concatenate([self.black, self.white]), len(self.names)
        points = np.concatenate([self.score, 1 - self.score])
        return np.bincount(who, minlength=n), np.bincount(who, points, n)


def _read(games: Sequence[GameScore], anchor: str) -> _Games:
    """Put the games into arrays. Raises the ValueErrors that ``rate`` documents."""
    names = sorted({game.black for game in games} | {game.white for game in games})
    if anchor not in names:
        raise ValueError(f"anchor: a player with games (got {anchor!r})")
    score = np.array([game.score for game in games], np.float64)
    if not np.isin(score, (0, 0.5, 1)).all():
        raise ValueError(f"score: 1, 0.5 or 0 (got {score[~np.isin(score, (0, 0.5, 1))][0]})")
    index = {name: i for i, name in enumerate(names)}
    black = np.array([index[game.black] for game in games])
    white = np.array([index[game.white] for game in games])
    kinds, cell = np.unique(black * len(names) + white, return_inverse=True)
    design = np.zeros((len(kinds), len(names) + 1))
    rows = np.arange(len(kinds))
    design[rows, kinds // len(names)] += 1
    design[rows, kinds % len(names)] -= 1  # the sum is 0 if a player played against itself
    design[:, -1] = 1
    return _Games(names, index[anchor], black, white, score, cell, design)


def _fit(design: Floats, count: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return the most probable parameters [P + 2] and their covariance [P + 2, P + 2].

    The parameters are the strengths of the P players, the worth of the first move, and log v (the
    module's docstring defines v). Newton's method finds the parameters. Each step is halved until
    the step does not lower the log-posterior. The method converges, because the log-posterior is
    strictly concave.
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
            if state[0] >= value - 1e-10 * (1 + abs(value)):  # tolerates rounding
                break
            step /= 2
        found += step
        value, gradient, curvature = state
    return found, np.linalg.inv(curvature)


def _posterior(
    design: Floats, count: NDArray[Any], at: Floats, mean: Floats, deviation: Floats
) -> tuple[float, Floats, Floats]:
    """Return the log-posterior, its gradient and its negated Hessian."""
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
    """Return the Elo of the P players and of the first move, [P + 1], and the Elo's gradient.

    The gradient is [P + 1, P + 2]: a row for each Elo, a column for each parameter in ``found``.
    """
    draw = math.exp(found[-1])
    unit = _ELO * 2 / (2 + draw)  # 2 / (2 + draw) is 1 - the share of draws between equal players
    gradient = np.eye(len(found) - 1, len(found))
    gradient[:-1, anchor] -= 1
    elo = unit * (gradient @ found)
    gradient *= unit
    gradient[:, -1] = -elo * draw / (2 + draw)
    return elo, gradient


def _basis(table: _Games) -> list[Basis]:
    """Return ``Rating.basis`` for each player.

    Without a prior, the Elo difference between two players is finite exactly if scoring chains lead
    in both directions (L. R. Ford 1957, American Mathematical Monthly 64:28).
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
    """Return [P, P]: whether a chain of links leads from the row's player to the column's."""
    reached = linked | np.eye(len(linked), dtype=np.bool_)
    for _ in range(len(linked).bit_length()):
        reached = reached @ reached
    return reached

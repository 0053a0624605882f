"""An evaluation as it is played: its players, its matches, its games, from the loop."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import anyio.to_thread
import numpy as np

from keisei.evaluation import Match, MatchSpec, PlayedGame, tally
from keisei.evaluation.engine_match import EngineMatch
from keisei.evaluation.match import Kind, Opening
from keisei.evaluation.openings import choose, load_openings
from keisei.evaluation.ratings import Outcome
from keisei.evaluation.spec import ENGINE, LOCAL, EvaluationSpec
from keisei.evaluation.sprt import Sprt
from keisei.evaluation.statistics import score_interval, strength
from keisei.evaluation.strategies import Pairing, find_strategy
from keisei.runtime.beside import beside
from keisei.runtime.engines import Seat, play_match
from keisei.runtime.matches import Network
from keisei.runtime.ratings import rate_all
from keisei.store.matches import MatchGame
from keisei.usi import EngineSpec, find_engine

LOOK_SECONDS = 1.0
"""Between two looks at a match in play."""


class Arena(Protocol):
    """Where networks play. Raises what keeps a network from being used."""

    async def open(self, source: str) -> Network:
        """Bring up ``current``, or the network of a run or checkpoint."""

    async def play(
        self,
        match: Match,
        networks: tuple[Network | None, Network | None],
        tell: Callable[[list[PlayedGame]], None],
        *,
        greedy: bool,
    ) -> None:
        """Play a match; ``tell`` of games as they end. Cancelled, it ends early."""

    async def choose(self, network: Network, look: Any, draw: float, *, greedy: bool) -> Any:
        """Action and value in one position; ``look``: observation uint8[1, 131], mask uint64[1, 35]."""

    async def close(self, network: Network) -> None:
        """Let a network go."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an evaluation is."""

    games: int
    """That will be played if the agents win every match and no sequential test ends one."""
    ended: int
    score: float | None
    """The first agent's, over all its games."""
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Player:
    """A player, brought up."""

    name: str
    """In tables and records."""
    kind: Kind
    network: Network | None = None
    engine: EngineSpec | None = None


@dataclass(slots=True)
class Played:
    """A match of the evaluation."""

    agent: Player
    opponent: Player
    spec: MatchSpec
    first: int
    """Number of its first game within the evaluation."""
    games: dict[int, PlayedGame] = field(default_factory=dict)
    """By number within the match."""
    more: dict[str, Any] = field(default_factory=dict)
    """What an engine did beside playing: faults, processor time, error."""
    test: dict[str, Any] | None = None
    """How the sequential test stands."""

    @property
    def decided(self) -> bool:
        """Whether the sequential test has ended it."""
        return self.test is not None and self.test["decision"] is not None

    def counted(self) -> list[PlayedGame]:
        """The games that count: all, or once the sequential test has decided, those that it saw."""
        if self.test is None or not self.decided:
            return [self.games[number] for number in sorted(self.games)]
        return [self.games[number] for number in range(2 * self.test["pairs"])]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = {"agent": self.agent.name, "opponent": self.opponent.name}
        games = self.counted()
        if games:
            points = np.array([game.points for game in games])
            pairs = np.array([game.pair for game in games])
            found |= tally(games).to_dict() | strength(points, pairs).to_dict()
        return found | self.more | ({"sprt": self.test} if self.test else {})


class Tournament:
    """One evaluation. ``run`` plays it; an instance plays once."""

    def __init__(
        self,
        spec: EvaluationSpec,
        arena: Arena,
        *,
        names: Mapping[str, str] | None = None,
        show: Callable[[Progress], None] = lambda progress: None,
        keep: Callable[[list[MatchGame]], Any] | None = None,
        kept: Sequence[MatchGame] = (),
    ) -> None:
        """``names``: what names in ``spec`` stand for. ``show`` follows; ``keep`` (blocking, called in a
        thread) writes games; ``kept``: games that were written when this evaluation was broken off,
        which are not played again.
        """
        self.spec = spec
        self.matches: list[Played] = []
        self._arena, self._show, self._keep = arena, show, keep
        self._kept = {game.number: game for game in kept}
        self._names = names or {}
        self._players: dict[str, Player] = {}
        self._sprt = Sprt(*spec.sprt) if spec.sprt else None
        self._fresh: list[tuple[Played, PlayedGame]] = []
        self._due = 0.0

    async def run(self) -> dict[str, Any]:
        """Play. Returns the result, for JSON. Raises what keeps a player from playing."""
        spec = self.spec
        self._openings = await anyio.to_thread.run_sync(_openings, spec.openings)
        strategy = find_strategy(spec.strategy)
        most = strategy.most_matches(spec.agents, spec.opponents)
        self._most = spec.games * len(most)
        await anyio.to_thread.run_sync(_find_engines, most, self._names)
        plan = strategy.plan(spec.agents, spec.opponents)
        try:
            pairing = next(plan, None)
            while pairing is not None:
                match = await self._match(pairing)
                try:
                    pairing = plan.send(tally(match.counted()))
                except StopIteration:
                    pairing = None
        finally:
            with anyio.CancelScope(shield=True):
                for player in self._players.values():
                    if player.network is not None:
                        await self._arena.close(player.network)
                await self._write()
        return await anyio.to_thread.run_sync(self.result)

    def result(self) -> dict[str, Any]:
        """Of the games that ended: with several matches each, and ratings over all of them.

        Beside these the first agent's score over all its games, its pairs, and its rated Elo.
        """
        if len(self.matches) == 1:
            return self.matches[0].to_dict()
        rated = rate_all([outcome for match in self.matches for outcome in _outcomes(match)])
        agent = self.matches[0].agent.name
        score, interval, pairs = self._standing()
        return {
            "agent": agent,
            "games": sum(len(match.counted()) for match in self.matches),
            "pairs": pairs,
            "score": score,
            "interval": interval and list(interval),
            "elo": next(found.elo for found in rated.players if found.player == agent),
            "matches": [match.to_dict() for match in self.matches],
            "ratings": rated.to_dict(),
        }

    def _standing(self) -> tuple[float | None, tuple[float, float] | None, int]:
        """The first agent's score over all its games, the interval of it, and the complete pairs."""
        own = [m for m in self.matches if m.agent is self.matches[0].agent]
        games = [(m.first // 2 + game.pair, game.points) for m in own for game in m.counted()]
        if not games:
            return None, None, 0
        pairs, points = (np.array(column) for column in zip(*games, strict=True))
        _, count = np.unique(pairs, return_counts=True)
        return float(points.mean()), score_interval(points, pairs), int((count == 2).sum())

    # ------------------------------------------------------------------ players
    async def _player(self, text: str) -> Player:
        if text not in self._players:
            self._players[text] = await self._bring_up(self._names.get(text, text))
        return self._players[text]

    async def _bring_up(self, text: str) -> Player:
        if text in LOCAL:
            return Player(text, text)  # type: ignore[arg-type]  # the two are kinds
        if text.startswith(ENGINE):
            return Player(text, "engine", engine=EngineSpec.parse(text))
        with anyio.CancelScope(shield=True):  # else it would lie open and nobody know of it
            network = await self._arena.open(text)
        greedy = " greedy" if self.spec.greedy else ""
        return Player(network.name + greedy, "network", network=network)

    # ------------------------------------------------------------------ matches
    async def _match(self, pairing: Pairing) -> Played:
        spec = self.spec
        agent, opponent = [await self._player(p) for p in (pairing.agent, pairing.opponent)]
        networks = agent.network, opponent.network
        games = MatchSpec(
            agent=agent.kind,
            opponent=opponent.kind,
            games=spec.games,
            seed=spec.seed,
            openings=choose(self._openings, spec.games // 2, spec.seed),
            max_ply=spec.max_ply,
            declaration=spec.declaration,
            resign=spec.resign,
            trained_max_ply=(_cap(networks[0]), _cap(networks[1])),
        )
        match = Played(agent, opponent, games, first=sum(m.spec.games for m in self.matches))
        self.matches.append(match)
        self._recall(match)
        pairs = [k for k in range(games.games // 2) if 2 * k not in match.games]
        self._look(match)
        with anyio.CancelScope() as scope:
            if pairs and not match.decided:
                await self._play(match, pairs, scope)
        self._look(match)
        await self._write()
        return match

    async def _play(self, match: Played, pairs: list[int], scope: anyio.CancelScope) -> None:
        def tell(games: list[PlayedGame]) -> None:
            for game in games:
                match.games[game.number] = game
            self._fresh += [(match, game) for game in games]
            self._look(match, seldom=True)
            if match.decided:
                scope.cancel()

        agent, opponent = match.agent, match.opponent
        if agent.engine is None and opponent.engine is None:
            whole = Match(match.spec, pairs)
            async with beside(self._write_along):
                await self._arena.play(
                    whole, (agent.network, opponent.network), tell, greedy=self.spec.greedy
                )
        else:
            async with beside(self._write_along):
                await play_match(
                    EngineMatch(match.spec, pairs),
                    self._seat(agent),
                    self._seat(opponent),
                    tell,
                    concurrency=self.spec.concurrency,
                    report=match.more,
                )

    def _seat(self, player: Player) -> Seat:
        network = player.network
        if network is None:
            return Seat(player.kind, self.spec.seed, player.engine)
        choose = partial(self._arena.choose, network, greedy=self.spec.greedy)
        return Seat(player.kind, self.spec.seed, choose=choose)

    def _recall(self, match: Played) -> None:
        """Take over the games of whole pairs that these players played before this process."""
        names = [match.agent.name, match.opponent.name]
        for number in range(0, match.spec.games, 2):
            first = self._kept.get(match.first + number)
            second = self._kept.get(match.first + number + 1)
            if not first or not second:
                continue
            if [first.black, first.white] == names == [second.white, second.black]:
                match.games[number] = _recalled(number, first)
                match.games[number + 1] = _recalled(number + 1, second)

    def _look(self, match: Played, *, seldom: bool = False) -> None:
        """Test what has been played, and show it; if ``seldom``, once a second at most.

        It takes some ms for a thousand games, in which the loop does nothing else.
        """
        if seldom and time.monotonic() < self._due:
            return
        self._due = time.monotonic() + LOOK_SECONDS
        if self._sprt is not None and not match.decided:
            match.test = _test(self._sprt, match.games)
        score, interval, _ = self._standing()
        ended = sum(len(m.games) for m in self.matches)
        self._show(Progress(max(self._most, ended), ended, score, interval))

    # ------------------------------------------------------------------ games to keep
    async def _write_along(self) -> None:
        while True:
            await anyio.sleep(1)
            await self._write()

    async def _write(self) -> None:
        """Hand over the games that have ended since the last time."""
        fresh, self._fresh = self._fresh, []
        if self._keep is not None and fresh:
            await anyio.to_thread.run_sync(_write, self._keep, fresh)


def _cap(network: Network | None) -> int | None:
    return None if network is None else network.max_ply


def _test(sprt: Sprt, games: dict[int, PlayedGame]) -> dict[str, Any] | None:
    """The test at its first decision, or at the last pair before which none is missing.

    Short games end first: a test that looked at them as they come would be biased.
    """
    ended = itertools.takewhile(lambda k: 2 * k in games and 2 * k + 1 in games, itertools.count())
    points = [2 * (games[2 * k].points + games[2 * k + 1].points) for k in ended]
    if not points:
        return None
    counts = np.eye(5, dtype=int)[np.array(points, int)].cumsum(0)  # after each pair
    lower, upper = sprt.bounds
    ratio = sprt.llr(counts)
    decided = np.flatnonzero((ratio <= lower) | (ratio >= upper))
    last = int(decided[0]) if len(decided) else len(counts) - 1
    return {"pairs": last + 1, **sprt.to_dict(counts[last])}


def _find_engines(pairings: Sequence[Pairing], names: Mapping[str, str]) -> None:
    """Before anything is played: are the engines there? Blocking. Raises EngineStartError."""
    for name in {name for pairing in pairings for name in (pairing.agent, pairing.opponent)}:
        if (text := names.get(name, name)).startswith(ENGINE):
            find_engine(EngineSpec.parse(text).path)


@cache
def _openings(file: str | None) -> tuple[Opening, ...]:
    """Read and replayed once in a process: a book takes a second."""
    return tuple(map(Opening.read, load_openings(Path(file) if file else None)))


def _write(keep: Callable[[list[MatchGame]], Any], fresh: list[tuple[Played, PlayedGame]]) -> None:
    keep([_row(match, game) for match, game in fresh])


def _row(match: Played, game: PlayedGame) -> MatchGame:
    names = [match.agent.name, match.opponent.name]
    black, white = names if game.agent == "black" else names[::-1]
    return MatchGame(
        number=match.first + game.number,
        pair=match.first // 2 + game.pair,
        opening=match.spec.opening(game.pair).line,
        black=black,
        white=white,
        result=game.result,
        reason=game.reason,
        plies=game.plies,
        start=game.start,
        moves=" ".join(game.moves()),
        values=tuple(game.values.tolist()),
    )


def _recalled(number: int, row: MatchGame) -> PlayedGame:
    """A game that was kept, without its moves: nobody asks for them again."""
    none = np.empty(0)
    return PlayedGame(
        number=number,
        result=row.result,
        reason=row.reason,
        start=row.start,
        actions=none.astype(np.int16),
        values=none.astype(np.float32),
    )


def _outcomes(match: Played) -> list[Outcome]:
    found = []
    for game in match.counted():
        names = [match.agent.name, match.opponent.name]
        black, white = names if game.agent == "black" else names[::-1]
        points = game.points if game.agent == "black" else 1 - game.points
        found.append(Outcome(black, white, points, pair=match.first // 2 + game.pair))
    return found

"""Finds the engine's answer to each ``go``. All calls come from one thread, which owns torch."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from keisei.match_rules import Mates
from keisei.search import Line, Search, SearchOptions, warm_up
from keisei.search.tree import LOSS, WIN
from keisei.shogi import START_SFEN, IllegalMoveError, MateSearch, Position, SfenError
from keisei.shogi.position import Rule
from keisei.shogi.proof import shortest_mate
from keisei.shogi.usi import read_line
from keisei.usi.book import Book
from keisei.usi.options import NEVER_RESIGN, NO_FILE, Options
from keisei.usi.report import Variation, centipawns, from_centipawns, policy_line, say
from keisei.usi.searching import MOST_VISITS, Searching
from keisei.usi.solving import Solving
from keisei.usi.turn import Turn

SAMPLED = 20
"""Number of the best moves among which ``Sampling`` draws after a search."""
NO_DRAW = 512
"""Plies after the present position at which a searched game ends if there is no other limit."""
_RULES: dict[str, Rule] = {"CSARule27": "27", "CSARule24": "24", "NoEnteringKing": "none"}


class Thinker(Protocol):
    """A loaded network."""

    @property
    def about(self) -> str:
        """One line of text for the user, with the names of the checkpoint and the device."""

    @property
    def declaration(self) -> Rule:
        """The entering-king rule of the training games."""

    @property
    def max_ply(self) -> int:
        """Maximum ply of the training games."""

    def assess(
        self, observation: NDArray[np.uint8], mask: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """Return actions, probabilities and values; see ``keisei.nets.policy.Agent.assess``."""


class Mover:
    """The engine's player: its network, its tree and its book.

    Args:
        load: function that loads the network for a device and a number of CPU threads.
        openings: function that returns the openings of a book file. An empty name stands for
            Keisei's own book. It raises ValueError if the file cannot be used.
        send: function that sends a line to the GUI.
    """

    def __init__(
        self,
        load: Callable[[str, int], Thinker],
        openings: Callable[[str], Sequence[str]],
        send: Callable[[str], None],
    ) -> None:
        self._load, self._openings, self._send = load, openings, send
        self._loaded: tuple[tuple[str, int], Thinker] | None = None
        self._search: tuple[tuple[Any, ...], Search] | None = None
        self._book: tuple[str, Book] = ("", Book(()))
        self._seed, self._random = 0, random.Random()
        self._game: tuple[str, list[str], Position] = (START_SFEN, [], Position())
        self._bad_moves = 0
        """Number of own moves, up to the last one, whose score was at or below -ResignValue."""

    def prepare(self, options: Options) -> None:
        """Load the network and the book, and compile everything, so that no game has to wait."""
        thinker = self._network(options)
        if options.flag("OwnBook"):
            self._opened(options.text("BookFile"))
        warm_up()
        position = Position()
        position.declaration(_rule(options, thinker))
        shortest_mate(position, options.number("Mates"))
        MateSearch(position, nodes=1, memory_mib=1).run()
        search = self._planted(position, options, thinker)
        search.want(0, 4 * search.options.leaves)
        while (leaves := search.request()) is not None:
            search.answer(*thinker.assess(leaves.observation, leaves.mask))
        search.forget(0)

    def begin_game(self) -> None:
        """Forget the game before."""
        self._bad_moves = 0
        if self._search:
            self._search[1].forget(0)

    def answer(self, turn: Turn) -> None:
        """Send the one answer to a ``go``, as soon as it is found and wanted."""
        text = self._solve(turn) if turn.limits.solve else self._best_move(turn)
        turn.wait()
        self._send(text)
        turn.done = True

    def _solve(self, turn: Turn) -> str:
        try:
            position = self._set_up(turn.position)
        except (SfenError, IllegalMoveError) as error:
            self._send(say(f"invalid position: {error}"))
            return "checkmate nomate"
        seconds = None if turn.limits.mate is None else turn.limits.mate / 1000
        memory = _solver_memory(turn.options)
        turn.solver = MateSearch(position, nodes=MOST_VISITS, seconds=seconds, memory_mib=memory)
        if turn.stopped:
            turn.solver.stop()
        solution = turn.solver.run()
        if solution.moves:
            return " ".join(["checkmate", *solution.moves])
        return "checkmate nomate" if solution.verdict == "none" else "checkmate timeout"

    def _best_move(self, turn: Turn) -> str:
        thinker, options = self._network(turn.options), turn.options
        try:
            position = self._set_up(turn.position)
        except (SfenError, IllegalMoveError) as error:
            # The GUI's position is unknown, so a move would make no sense.
            self._send(say(f"invalid position: {error}"))
            return "bestmove resign"
        if position.declaration(_rule(options, thinker)) == "win":
            return "bestmove win"
        if not position.legal_moves():
            return "bestmove resign"
        move = self._from_book(turn, position)
        if move:
            return f"bestmove {move}"
        chosen = self._mate(turn, position) or self._searched(turn, position, thinker)
        turn.wait()
        if not turn.is_analysis and self._gives_up(chosen, options):
            return "bestmove resign"
        return " ponder ".join([f"bestmove {chosen.moves[0]}", *chosen.moves[1:2]])

    def _from_book(self, turn: Turn, position: Position) -> str | None:
        if turn.is_analysis or turn.limits.searchmoves or not turn.options.flag("OwnBook"):
            return None
        moves = self._opened(turn.options.text("BookFile")).moves(position)
        if moves:
            self._send(say("a move of the book"))
        return self._dice(turn.options).choice(moves) if moves else None

    def _mate(self, turn: Turn, position: Position) -> Variation | None:
        line = mating_line(position, turn.options.number("Mates"))
        if not line or (turn.limits.searchmoves and line[0] not in turn.limits.searchmoves):
            return None
        return self._shown_mate(line)

    def _shown_mate(self, line: Sequence[str]) -> Variation:
        found = Variation(tuple(line), 1.0, len(line))
        self._send(f"info depth {len(line)} nodes 0 {found.score}pv {' '.join(line)}")
        return found

    def _searched(self, turn: Turn, position: Position, thinker: Thinker) -> Variation:
        options, moves = turn.options, turn.limits.searchmoves
        legal = {move: position.action(move) for move in position.legal_moves()}
        only = [legal[move] for move in moves if move in legal]
        if moves and not only:
            self._send(say("searchmoves: none of the moves is legal, so all moves are searched"))
        search = self._planted(position, options, thinker, only)
        mate, searching = self._run(turn, position, thinker, search)
        if mate:
            return mate
        shown = options.number("MultiPV")
        lines = search.lines(0, max(shown, SAMPLED))
        chosen = self._draw(lines, options)
        lines = [chosen, *(line for line in lines if line is not chosen)][:shown]
        if not options.flag("Search"):
            self._send(policy_line([searching.variation(line) for line in lines]))
        searching.report(lines)
        if only:
            search.forget(0)
        return searching.variation(chosen)

    def _run(
        self, turn: Turn, position: Position, thinker: Thinker, search: Search
    ) -> tuple[Variation | None, Searching]:
        """Search, with the mate solver beside it. Return the solver's mate, and the search."""
        if not self._solves(turn):
            searching = Searching(search, turn, position, thinker, self._send, nodes=_nodes(turn))
            searching.run()
            return None, searching
        last_ply = _last_ply(position, turn.options.number("MaxMovesToDraw"))
        memory = _solver_memory(turn.options)
        with Solving(position, memory_mib=memory, most=last_ply - position.ply) as solving:
            searching = Searching(
                search, turn, position, thinker, self._send, nodes=_nodes(turn),
                mate_found=lambda: bool(solving.mate),
            )  # fmt: skip
            searching.run()
        return (self._shown_mate(solving.mate) if solving.mate else None), searching

    def _solves(self, turn: Turn) -> bool:
        options = turn.options
        return options.flag("MateSolver") and options.flag("Search") and not turn.limits.searchmoves

    def _draw(self, lines: list[Line], options: Options) -> Line:
        """Return the best move, or with ``Sampling`` one drawn by its visits or probability."""
        possible = [line for line in lines if line.proven != LOSS]
        if not options.flag("Sampling") or lines[0].proven == WIN or not possible:
            return lines[0]
        visited = any(line.visits for line in possible)
        weights = [line.visits if visited else line.prior for line in possible]
        return self._dice(options).choices(possible, weights)[0]

    def _gives_up(self, chosen: Variation, options: Options) -> bool:
        """Count the bad moves, and return whether there are enough of them."""
        worst = options.number("ResignValue")
        score = 0 if chosen.value is None else centipawns(chosen.value)
        bad = worst < NEVER_RESIGN and score <= -worst
        self._bad_moves = self._bad_moves + 1 if bad else 0
        return self._bad_moves >= options.number("ResignMoves")

    def _network(self, options: Options) -> Thinker:
        wanted = options.text("Device"), options.number("Threads")
        if self._loaded is None or self._loaded[0] != wanted:
            self._loaded = wanted, self._load(*wanted)
            self._search = None  # it holds another network's answers
            self._send(say(self._loaded[1].about))
        return self._loaded[1]

    def _planted(
        self, position: Position, options: Options, thinker: Thinker, only: Sequence[int] = ()
    ) -> Search:
        """Return the search for a position, which keeps what it knows of the game."""
        last_ply = _last_ply(position, options.number("MaxMovesToDraw"))
        made_of = (
            options.number("DNN_Batch_Size"),
            options.number("USI_Hash"),
            cast("Mates", options.number("Mates")),
            _rule(options, thinker),
            last_ply,
            _draw_for_black(options, position),
            options.flag("Search"),
        )
        if self._search is None or self._search[0] != made_of:
            leaves, memory, mates, rule, _, draw, searches = made_of
            chosen = SearchOptions(leaves=leaves, mates=mates)
            self._search = (
                made_of,
                Search(
                    1,
                    # Without search, the network's own probabilities are shown and sampled.
                    chosen if searches else replace(chosen, temperature=1.0),
                    max_ply=last_ply,
                    declaration=rule,
                    nodes=max(memory * 2**20 // Search.bytes_per_node(), 2 * leaves),
                    draw=draw,
                ),
            )
        search = self._search[1]
        if not options.flag("Search"):
            search.forget(0)
        search.plant_position(0, position, trained_max_ply=thinker.max_ply, only=only)
        return search

    def _opened(self, file: str) -> Book:
        """Return the book in a file; an empty book if the file cannot be used."""
        if self._book[0] != file:
            try:
                openings = self._openings("" if file == NO_FILE else file)
            except ValueError as error:
                self._send(say(f"BookFile: {error}"))
                openings = ()
            self._book = file, Book(openings)
        return self._book[1]

    def _dice(self, options: Options) -> random.Random:
        """Return the random generator, with a new seed if the option has changed."""
        seed = options.number("Seed")
        if seed != self._seed:
            self._seed, self._random = seed, random.Random(seed or None)
        return self._random

    def _set_up(self, words: Sequence[str]) -> Position:
        """Return the position of a ``position`` command. Raises SfenError, IllegalMoveError.

        A game usually goes on, so only its new moves are made.
        """
        start, moves = read_line(" ".join(words))
        before, made, position = self._game
        if start != before or moves[: len(made)] != made:
            made, position = [], Position(start)
        position = position.copy()
        for move in moves[len(made) :]:
            position.push(move)
        self._game = start, moves, position
        return position


def mating_line(position: Position, most: int) -> list[str]:
    """Return the moves of a forced mate of at most ``most`` moves; empty if none is found."""
    mate = shortest_mate(position, most)
    if mate is None:
        return []
    follower = position.copy()
    follower.push(mate.move)
    if mate.moves == 1:
        return [mate.move]
    reply = follower.legal_moves()[0]
    follower.push(reply)
    return [mate.move, reply, *mating_line(follower, mate.moves - 2)]


def _solver_memory(options: Options) -> int:
    """Return the mate solver's memory in MiB: a quarter of the search's."""
    return max(options.number("USI_Hash") // 4, 1)


def _nodes(turn: Turn) -> int | None:
    """Return the largest number of simulations for a move; None: no limit."""
    if not turn.options.flag("Search"):
        return 1
    limit = turn.options.number("NodesLimit") or None
    given = [number for number in (turn.limits.nodes, limit) if number is not None]
    return max(min(given), 1) if given else None


def _rule(options: Options, thinker: Thinker) -> Rule:
    return _RULES.get(options.text("EnteringKingRule"), thinker.declaration)


def _last_ply(position: Position, most_moves: int) -> int:
    """Return the ply at which a searched game ends without a winner.

    Without a limit, this number must be high, and it must not change at every move, because a
    search with another number begins from nothing.
    """
    if not most_moves:
        return (position.ply // NO_DRAW + 2) * NO_DRAW
    first = int(position.sfen().rpartition(" ")[2]) - position.ply
    return max(most_moves - first + 1, position.ply + 1)


def _draw_for_black(options: Options, position: Position) -> float:
    """Return the value of a draw for black; the options give it for the engine's side."""
    if position.side == "black":
        return from_centipawns(options.number("DrawValueBlack"))
    return -from_centipawns(options.number("DrawValueWhite"))

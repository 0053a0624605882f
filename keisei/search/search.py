"""The class Search: searches many positions at the same time, for anybody who owns a network."""

from collections.abc import Collection
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keisei.env import MOST_LEGAL, legal_lists
from keisei.env.observe import observe_sfen
from keisei.search import tree
from keisei.search.found import Leaves, Line
from keisei.search.options import SearchOptions
from keisei.search.tree import EDGE, LOSS, NODE, UNKNOWN, WIN
from keisei.shogi import Position, kernels
from keisei.shogi.position import RULES, Rule

EDGES = 100
"""Edges for each node, on average over a tree. Games of shogi have about 80 legal moves."""


class Search:
    """Searches T positions at the same time, each in a tree of its own. It has no network.

    Plant the positions, then call ``request`` and ``answer`` alternately::

        search = Search(1, SearchOptions(simulations=400))
        search.plant_position(0, Position())
        while (leaves := search.request()) is not None:
            search.answer(*agent.assess(leaves.observation, leaves.mask))
        print(search.lines(0)[0])
    """

    def __init__(
        self,
        trees: int,
        options: SearchOptions,
        *,
        max_ply: int = 512,
        declaration: Rule = "27",
        nodes: int | None = None,
        draw: float = 0.0,
    ) -> None:
        """Allocate all memory.

        Args:
            trees: number T of trees.
            options: how the trees are searched.
            max_ply: ply at which a game ends without a winner; the root's ply counts.
            declaration: entering-king rule of the games.
            nodes: most nodes in one tree. By default, there is room for two searches, so that a
                search can keep what the search for the previous move found.
            draw: value of a draw for black, from -1 (like a loss) to 1.
        """
        size = nodes or 2 * options.simulations + 2
        edges = EDGES * size + MOST_LEGAL  # so that the root always has room for its moves
        self.options = options
        self._max_ply, self._rule, self._draw = max_ply, RULES[declaration], draw
        self._nodes, self._edges = np.zeros((trees, size), NODE), np.zeros((trees, edges), EDGE)
        self._games = np.zeros((trees, size), kernels.GAME)
        self._used = np.zeros((trees, 2), np.int64)
        self._wanted = np.zeros(trees, np.int64)
        blocks = max_ply // 128 + 1
        self._tags = np.zeros((trees, 2, 64 * blocks), np.uint16)
        self._keys = np.zeros((trees, 128 * blocks), np.uint64)
        self._root_observation = np.zeros((trees, kernels.OBSERVATION_BYTES), np.uint8)
        self._root_mask = np.zeros((trees, kernels.MASK_WORDS), np.uint64)
        self._ply_offset = np.zeros(trees, np.int64)
        self._trained_max_ply = np.ones(trees, np.int64)
        self._moved = np.zeros(size, np.int32)
        self._leaf = np.zeros((3, trees * options.leaves), np.int64)
        self._asked = np.zeros((2, 0), np.int64)

    @staticmethod
    def bytes_per_node() -> int:
        """Return the memory for a node, its position and its edges, in bytes."""
        return NODE.itemsize + kernels.GAME.itemsize + EDGES * EDGE.itemsize

    def plant(
        self,
        t: int,
        game: Any,
        tags: NDArray[np.uint16],
        keys: NDArray[np.uint64],
        observation: NDArray[np.uint8],
        mask: NDArray[np.uint64],
        *,
        trained_max_ply: int,
        ply_offset: int = 0,
        simulations: int | None = None,
    ) -> None:
        """Make a position the root of tree ``t``.

        If the position is the root's grandchild, or a nearer descendant, in the present tree, the
        search keeps what it knows of it. The caller must have checked that the game is not over.

        Args:
            t: number of the tree.
            game: the position, a record ``keisei.shogi.kernels.GAME``.
            tags, keys: the game's history: uint16[2, P] and uint64[2P], as in ``VectorEnv``.
            observation, mask: uint8[131] and uint64[35] of the position.
            trained_max_ply: maximum ply of the network's training games.
            ply_offset: number to add to the game's ply for the network.
            simulations: number of simulations; None: the number of the options.

        Raises:
            ValueError: the game has reached its maximum ply.
        """
        if game["ply"] >= self._max_ply:
            raise ValueError(f"the game is over: ply {game['ply']} of {self._max_ply}")
        known = self._find(t, game, keys)
        plies = int(game["ply"]) + 1
        self._keys[t, :plies] = keys[:plies]
        self._tags[t, :, : (plies + 1) // 2] = tags[:, : (plies + 1) // 2]
        self._root_observation[t], self._root_mask[t] = observation, mask
        self._trained_max_ply[t], self._ply_offset[t] = trained_max_ply, ply_offset
        if known is None:
            self._nodes[t, 0] = np.zeros((), NODE)
            self._nodes[t, 0]["parent"] = -1
            self._games[t, 0] = game
            self._used[t] = 1, 0
        elif known:
            tree.keep_subtree(
                t, known, self._nodes, self._edges, self._used, self._games, self._moved
            )
        root = self._nodes[t, 0]
        if not root["count"]:
            root["proven"], root["plies"] = UNKNOWN, 0
        self._wanted[t] = simulations or self.options.simulations

    def plant_position(
        self,
        t: int,
        position: Position,
        *,
        trained_max_ply: int = 512,
        simulations: int | None = None,
        only: Collection[int] = (),
    ) -> None:
        """Make a ``Position``, with its earlier moves, the root of tree ``t``; see ``plant``.

        ``only``: the only actions that the root is to have. ``forget`` such a tree afterwards.
        """
        game, tags, keys, number = position.record()
        observation, mask = observe_sfen(
            position.sfen(), trained_max_ply, earlier=position.occurrences - 1
        )
        if only:
            self.forget(t)
            bits = np.zeros(64 * kernels.MASK_WORDS, np.uint8)
            bits[list(only)] = 1
            mask = np.packbits(bits, bitorder="little").view(np.uint64)[None]
        self.plant(
            t, game, tags, keys, observation[0], mask[0], trained_max_ply=trained_max_ply,
            ply_offset=number - 1, simulations=simulations,
        )  # fmt: skip

    def forget(self, t: int) -> None:
        """Drop everything that is known in tree ``t``."""
        self._used[t] = 0

    def want(self, t: int, simulations: int) -> None:
        """Set the number of simulations that are still to be begun in tree ``t``."""
        self._wanted[t] = simulations

    def stop(self) -> None:
        """Begin no more simulations in any tree."""
        self._wanted[:] = 0

    def request(self) -> Leaves | None:
        """Return positions for a network, or None when all simulations are finished.

        A simulation that ends in a proven position needs no network. Raises RuntimeError if the
        positions of the previous call were not answered.
        """
        if self._asked.shape[1]:
            raise RuntimeError("the previous positions were not answered")
        options = self.options
        while True:
            found = tree.select(
                0, len(self._wanted), self._nodes, self._edges, self._used, self._wanted,
                options.leaves, options.c_init, options.c_base, options.urgency,
                options.root_urgency, self._draws(self._games["side"][:, 0]), *self._leaf,
            )  # fmt: skip
            if not found:
                return None
            leaves = self._visit(*self._leaf[:, :found])
            if leaves is not None:
                return leaves

    def answer(
        self,
        actions: NDArray[np.integer[Any]],
        priors: NDArray[np.float32],
        values: NDArray[np.float32],
    ) -> None:
        """Give the network's answer for the M positions of ``request``.

        Args:
            actions: int[M, L]: the legal actions of each position; -1 is padding.
            priors: float32[M, L]: their probabilities.
            values: float32[M]: P(win) - P(loss) of the side to move.

        NaN counts as 0. A value is limited to -1 to 1, and a probability to 0 to 1.
        """
        trees, nodes = self._asked
        if len(values) != len(trees):
            raise ValueError(f"{len(values)} answers for {len(trees)} positions")
        self._asked = np.zeros((2, 0), np.int64)
        tree.expand(
            trees, nodes, np.asarray(actions, np.int64), priors, values, self._nodes, self._edges,
            self._used, self.options.temperature,
        )  # fmt: skip

    def lines(self, t: int, most: int = 1) -> list[Line]:
        """Return the best moves at the root of tree ``t``, the best move first.

        A proven win comes first, the fastest before others; a proven loss last, the slowest before
        others; between them the most visited move, then the more probable one.
        """
        edges = self._children(t, 0)
        order = sorted(range(len(edges)), key=lambda k: self._rank(t, edges[k]))
        return [self._line(t, edges[k]) for k in order[:most]]

    def choose(self, t: int, *, greedy: bool, temperature: float, draw: float) -> tuple[int, float]:
        """Choose a move for tree ``t``; return its action and value.

        If ``greedy`` is True, or if the best move is a proven win or loss, the choice is the best
        move. Otherwise a move is sampled by its visits to the power 1 / ``temperature``. ``draw``
        is the random number in [0, 1). A proven loss is not sampled.
        """
        lines = self.lines(t, len(self._children(t, 0)))
        best = lines[0]
        if greedy or best.proven in (WIN, LOSS):
            return best.action, best.value
        possible = [line for line in lines if line.proven != LOSS and line.visits] or [best]
        weights = np.array([max(line.visits, 1) for line in possible]) ** (1 / temperature)
        below = weights.cumsum()
        chosen = possible[int(np.searchsorted(below, draw * below[-1], side="right"))]
        return chosen.action, chosen.value

    def visits(self, t: int) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
        """Return the actions at the root of tree ``t``, int16[K], and their visits, int32[K]."""
        edges = self._children(t, 0)
        number = np.where(edges["child"] >= 0, self._nodes["visits"][t, edges["child"]], 0)
        return edges["action"].copy(), number.astype(np.int32)

    def value(self, t: int) -> float:
        """Return P(win) - P(loss) of the side to move at the root of tree ``t``."""
        root = self._nodes[t, 0]
        if root["proven"]:
            return self._proven_value(t, int(root["proven"]))
        return float(root["total"]) / max(int(root["visits"]), 1)

    def proven(self, t: int) -> tuple[int, int]:
        """Return what is proven for the root of tree ``t``: the result, and the plies to it."""
        return int(self._nodes["proven"][t, 0]), int(self._nodes["plies"][t, 0])

    def size(self, t: int) -> tuple[int, int]:
        """Return the root's visits and the number of nodes in tree ``t``."""
        return int(self._nodes["visits"][t, 0]), int(self._used[t, 0])

    def fullness(self, t: int) -> float:
        """Return the used share of the memory of tree ``t``, from 0 to 1."""
        nodes, edges = self._used[t]
        return float(max(nodes / self._nodes.shape[1], edges / self._edges.shape[1]))

    def depth(self, t: int) -> int:
        """Return the number of moves from the root of tree ``t`` to its deepest position."""
        return tree.depth(self._nodes["parent"][t, : self._used[t, 0]])

    def _visit(
        self, trees: NDArray[np.int64], nodes: NDArray[np.int64], actions: NDArray[np.int64]
    ) -> Leaves | None:
        """Make the moves that lead to new leaves; finish those that are proven at once."""
        m = len(trees)
        observation = np.empty((m, kernels.OBSERVATION_BYTES), np.uint8)
        mask = np.empty((m, kernels.MASK_WORDS), np.uint64)
        reason, result, mate = (np.empty(m, np.int64) for _ in range(3))
        kernels.visit_leaves(
            trees, nodes, actions, self._nodes["parent"], self._games, self._tags, self._keys,
            self._root_observation, self._root_mask, self._trained_max_ply, self._ply_offset,
            observation, mask, reason, result, mate, self._rule, self._max_ply, self.options.mates,
        )  # fmt: skip
        draws = self._draws(self._games["side"][trees, nodes])
        tree.settle(trees, nodes, reason, result, mate, draws, self._nodes, self._edges)
        asked = np.flatnonzero((reason == 0) & (mate == 0))
        self._asked = np.array([trees[asked], nodes[asked]])
        if not len(asked):
            return None
        return Leaves(observation[asked], mask[asked], trees[asked])

    def _draws(self, sides: Any) -> Any:
        """Return the value of a draw, float64[M], for the sides (0 black, 1 white) to move."""
        return self._draw * (1.0 - 2.0 * sides)

    def _proven_value(self, t: int, proven: int) -> float:
        """Return the value of a proven result for the side to move at the root of tree ``t``."""
        draw = float(self._draws(self._games["side"][t, 0]))
        return draw if proven == tree.DRAW else float(tree.VALUE[proven])

    def _find(self, t: int, game: Any, keys: NDArray[np.uint64]) -> int | None:
        """Return the node of tree ``t``, at most two moves from the root, that a game has reached.

        Return None if the game has not passed through the root. The whole history is compared: the
        same position after other moves can repeat other positions.
        """
        if not self._used[t, 0]:
            return None
        root_ply, ply = int(self._games["ply"][t, 0]), int(game["ply"])
        known = self._keys[t, : root_ply + 1]
        if not 0 <= ply - root_ply <= 2 or not np.array_equal(known, keys[: root_ply + 1]):
            return None
        node = 0
        for key in keys[root_ply + 1 : ply + 1]:
            children = [child for child in self._children(t, node)["child"].tolist() if child > 0]
            reached = [child for child in children if self._games["key"][t, child] == key]
            if not reached:
                return None
            node = reached[0]
        same = all(np.array_equal(self._games[name][t, node], game[name]) for name in _SAME)
        return node if same else None

    def _children(self, t: int, node: int) -> Any:
        """Return the edges of a node."""
        first, count = self._nodes[t, node]["first"], self._nodes[t, node]["count"]
        return self._edges[t, first : first + count]

    def _rank(self, t: int, edge: Any) -> tuple[float, ...]:
        """Return a key that sorts the better of two moves first."""
        if edge["child"] < 0:
            return 1, 0, -float(edge["prior"])
        child = self._nodes[t, edge["child"]]
        plies, visits = int(child["plies"]), int(child["visits"])
        if child["proven"] == LOSS:
            return 0, plies, 0
        if child["proven"] == WIN:
            return 2, -plies, 0
        return 1, -visits, -float(edge["prior"])

    def _line(self, t: int, edge: Any) -> Line:
        """Return what the search found for a move at the root."""
        action, prior = int(edge["action"]), float(edge["prior"])
        if edge["child"] < 0:
            return Line(action, prior, 0, self.value(t), UNKNOWN, 0, (action,))
        child = self._nodes[t, edge["child"]]
        proven = {WIN: LOSS, LOSS: WIN}.get(int(child["proven"]), int(child["proven"]))
        visits = int(child["visits"])
        known = self._proven_value(t, proven)
        value = known if proven else -float(child["total"]) / max(visits, 1)
        plies = int(child["plies"]) + 1 if proven else 0
        return Line(action, prior, visits, value, proven, plies, self._variation(t, edge))

    def _variation(self, t: int, edge: Any) -> tuple[int, ...]:
        """Return a move and the best moves that follow it, as far as the tree knows them."""
        moves = [int(edge["action"])]
        while edge["child"] >= 0:
            edges = [e for e in self._children(t, int(edge["child"])) if e["child"] >= 0]
            if not edges:
                break
            edge = min(edges, key=lambda e: self._rank(t, e))
            moves.append(int(edge["action"]))
        return tuple(moves)


_SAME = ("board", "hands", "checks", "earlier")
"""Fields of a position's record that, besides the history, determine everything that follows."""


@cache
def warm_up() -> None:
    """Compile all functions of a search, or load them from the cache. The first call takes seconds.

    Call this where a delay is allowed, so that no later search is delayed.
    """
    search, position = Search(1, SearchOptions(simulations=3)), Position()
    for _ in range(2):
        search.plant_position(0, position)
        while (leaves := search.request()) is not None:
            actions, _ = legal_lists(leaves.mask)
            search.answer(
                actions, np.ones(actions.shape, np.float32), np.zeros(len(actions), np.float32)
            )
        position.play(search.lines(0)[0].action)

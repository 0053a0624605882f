"""A slow and readable tree search, with which tests compare ``keisei.search``."""

import functools
import hashlib
import math
import operator
from dataclasses import dataclass, field

import numpy as np

from keisei.env import observe_position
from keisei.search import SearchOptions
from keisei.shogi import Position
from keisei.shogi.position import Rule

WIN, DRAW, LOSS = "win", "draw", "loss"
WORTH = {WIN: 1.0, DRAW: 0.0, LOSS: -1.0}


def network(observation: np.ndarray, actions: list[int]) -> tuple[np.ndarray, float]:
    """Return probabilities and a value that depend only on the observation, as a network would."""
    digest = hashlib.sha256(observation.tobytes()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    weights = random.random(len(actions)) ** 4 + 1e-3
    return (weights / weights.sum()).astype(np.float32), float(np.float32(random.uniform(-1, 1)))


@dataclass(eq=False)
class Node:
    """A position of the tree."""

    position: Position
    parent: "Node | None" = None
    moves: list[int] = field(default_factory=list)
    priors: list[float] = field(default_factory=list)
    children: dict[int, "Node"] = field(default_factory=dict)
    visits: int = 0
    waiting: int = 0
    total: float = 0.0
    proven: str | None = None
    plies: int = 0

    def line_up(self) -> "list[Node]":
        return [self, *(self.parent.line_up() if self.parent else [])]


class SlowSearch:
    """One tree. ``run`` makes the simulations."""

    def __init__(
        self,
        position: Position,
        options: SearchOptions,
        *,
        max_ply: int = 512,
        trained_max_ply: int = 256,
        declaration: Rule = "27",
    ) -> None:
        self.root, self.options = Node(position.copy()), options
        self.max_ply, self.trained_max_ply = max_ply, trained_max_ply
        self.declaration = declaration

    def keep(self, *moves: int) -> None:
        """Make the position after ``moves`` the root. Only these moves' subtree is kept."""
        for move in moves:
            self.root = self.root.children[move]
        self.root.parent = None
        if not self.root.moves:
            self.root.proven, self.root.plies = None, 0

    def run(self) -> None:
        left = self.options.simulations
        while left and not self.root.proven:
            waiting: list[Node] = []
            while left and len(waiting) < self.options.leaves and not self.root.proven:
                node, is_new = self.descend()
                if node is None:
                    break
                left -= 1
                if not is_new:
                    self.back_up(node, WORTH[node.proven])
                    continue
                waiting.append(node)
                for one in node.line_up():
                    one.waiting += 1
                if node is self.root:
                    break
            fresh = [node for node in waiting if not self.settle(node)]
            for node in fresh:
                self.expand(node)

    def descend(self) -> tuple[Node | None, bool]:
        node = self.root
        if not node.moves:
            return (None, False) if node.waiting else (node, True)
        while True:
            move = self.choose(node)
            child = node.children.get(move)
            if child is None:
                position = node.position.copy()
                position.play(move)
                child = node.children[move] = Node(position, node)
                return child, True
            if child.proven:
                return child, False
            if not child.moves:
                return None, False
            node = child

    def choose(self, node: Node) -> int:
        options = self.options
        total = node.visits + node.waiting
        c = options.c_init + math.log((total + options.c_base + 1) / options.c_base)
        urgency = options.urgency if node.parent else options.root_urgency
        seen = sum(p for m, p in zip(node.moves, node.priors, strict=True) if m in node.children)
        best, best_score = -1, -math.inf
        for move, prior in zip(node.moves, node.priors, strict=True):
            child = node.children.get(move)
            if child is None:
                value = node.total / node.visits - urgency * math.sqrt(seen)
                score = value + c * math.sqrt(total) * prior
            elif child.proven == WIN:
                continue
            else:
                number = child.visits + child.waiting
                value = 0.0 if child.proven else -(child.total + child.waiting) / number
                score = value + c * math.sqrt(total) * prior / (1 + number)
            if score > best_score:
                best, best_score = move, score
        return best

    def settle(self, node: Node) -> bool:
        """Finish the simulation if the rules, or a search for mate, prove the new position."""
        if node is self.root:
            return False
        position = node.position
        outcome = position.outcome(self.declaration)
        proven, plies = None, 0
        if outcome is not None:
            proven = {position.side: WIN, None: DRAW}.get(outcome.winner, LOSS)
        elif position.ply >= self.max_ply:
            proven = DRAW
        else:
            for length in range(1, self.options.mates + 1, 2):
                if (
                    not proven
                    and position.ply + length - 1 < self.max_ply
                    and position.mate(length)
                ):
                    proven, plies = WIN, length
        if proven is None:
            return False
        self.finish(node, WORTH[proven])
        self.prove(node, proven, plies)
        return True

    def prove(self, node: Node, proven: str, plies: int) -> None:
        node.proven, node.plies = proven, plies
        parent = node.parent
        if parent is None:
            return
        ends = [(child.proven, child.plies + 1) for child in parent.children.values()]
        lost = [n for proven, n in ends if proven == LOSS]
        if lost:
            self.prove(parent, WIN, min(lost))
        elif len(ends) == len(parent.moves) and all(proven for proven, _ in ends):
            draws = [n for proven, n in ends if proven == DRAW]
            self.prove(parent, DRAW, max(draws)) if draws else self.prove(
                parent, LOSS, max(n for _, n in ends)
            )

    def expand(self, node: Node) -> None:
        observation, _ = observe_position(node.position, self.trained_max_ply)
        actions = sorted(node.position.action(move) for move in node.position.legal_moves())
        priors, value = network(observation[0], actions)
        chances = [float(prior) ** (1 / self.options.temperature) for prior in priors]
        total = functools.reduce(operator.add, chances)
        order = np.argsort([-chance for chance in chances], kind="stable")
        node.moves = [actions[k] for k in order]
        node.priors = [float(np.float32(chances[k] / total)) for k in order]
        self.finish(node, value)

    def finish(self, node: Node, value: float) -> None:
        for one in node.line_up():
            one.waiting -= 1
        self.back_up(node, value)

    def back_up(self, node: Node, value: float) -> None:
        for one in node.line_up():
            one.visits += 1
            one.total += value
            value = -value

# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False, disallow-incomplete-defs=False
# mypy: disallow-untyped-decorators=False, check-untyped-defs=False
"""Compiled functions that walk and change search trees. They know nothing of shogi.

Numba's disk cache notices changes only in the file of the cached function. Therefore no function
here calls a compiled function of another file; ``keisei.shogi.kernels`` makes the moves.

All trees share one array of nodes and one of edges, [T, ...] for T trees. Node 0 of a tree is its
root. A node is created later than its parent, so its number is larger.

Source of the rule PUCT: Silver et al., "A general reinforcement learning algorithm that masters
chess, shogi, and Go through self-play" (Science 362, 2018). Source of the proven values: Winands,
Björnsson and Saito, "Monte-Carlo Tree Search Solver" (Computers and Games 2008).
"""

import math
from typing import Any

import numpy as np
from numba import njit

NODE = np.dtype(
    [
        ("parent", np.int32),  # -1 for the root
        ("first", np.int32),  # number of the node's first edge
        ("count", np.int16),  # number of edges; 0 until the network has answered
        ("opened", np.int16),  # number of edges that have a child; these edges come first
        ("proven", np.int8),  # UNKNOWN, WIN, DRAW or LOSS, for the side to move
        ("plies", np.int16),  # plies to the proven end, if the winner hurries and the loser delays
        ("visits", np.int32),  # finished simulations through this node
        ("waiting", np.int32),  # simulations through this node that wait for the network
        ("total", np.float64),  # sum of these simulations' values for the side to move
    ],
    align=True,
)
EDGE = np.dtype([("prior", np.float32), ("child", np.int32), ("action", np.int16)])

UNKNOWN, WIN, DRAW, LOSS = range(4)
VALUE = np.array([0.0, 1.0, 0.0, -1.0])
"""Value of a proven result for the side to move, if a draw has no other value."""


@njit
def add_waiting(nodes, t, node, number):
    """Add ``number`` to the waiting simulations of a node and of its ancestors."""
    while node >= 0:
        nodes[t, node].waiting += number
        node = nodes[t, node].parent


@njit
def add_value(nodes, t, node, value):
    """Add a simulation's value, for the side to move in ``node``, to it and its ancestors."""
    while node >= 0:
        nodes[t, node].visits += 1
        nodes[t, node].total += value
        value = -value
        node = nodes[t, node].parent


@njit
def prove(nodes, edges, t, node, proven, plies):
    """Mark a node as proven, and its ancestors as far as this proves them."""
    nodes[t, node].proven, nodes[t, node].plies = proven, plies
    node = nodes[t, node].parent
    while node >= 0:
        found, plies = outcome(nodes, edges, t, node)
        known = nodes[t, node]
        if found == UNKNOWN or (found == known.proven and plies == known.plies):
            return
        known.proven, known.plies = found, plies
        node = known.parent


@njit
def outcome(nodes, edges, t, node):
    """Return what the children prove for a node, and the plies to this end."""
    here = nodes[t, node]
    fastest, slowest, draw, open_moves = 32767, 0, -1, here.count - here.opened
    for e in range(here.first, here.first + here.opened):
        child = nodes[t, edges[t, e].child]
        if child.proven == LOSS:
            fastest = min(fastest, child.plies + 1)
        elif child.proven == WIN:
            slowest = max(slowest, child.plies + 1)
        elif child.proven == DRAW:
            draw = max(draw, child.plies + 1)
        else:
            open_moves += 1
    if fastest < 32767:
        return WIN, fastest
    if open_moves:
        return UNKNOWN, 0
    return (DRAW, draw) if draw >= 0 else (LOSS, slowest)


@njit
def best_edge(nodes, edges, t, node, c_init, c_base, urgency, draw):
    """Return the edge of a node, without a proven result, that the rule PUCT chooses.

    ``draw`` is the value of a draw for the side to move. If a score is NaN, any edge whose move is
    not a proven loss can be chosen.
    """
    here = nodes[t, node]
    total = here.visits + here.waiting
    weight = (c_init + math.log((total + c_base + 1) / c_base)) * math.sqrt(total)
    best, best_score, visited = -1, -np.inf, 0.0
    for e in range(here.first, here.first + here.opened):
        prior, child = edges[t, e].prior, nodes[t, edges[t, e].child]
        visited += prior
        if child.proven == WIN:  # this move loses
            continue
        number = child.visits + child.waiting
        # A waiting simulation counts as a loss, so that the next one goes elsewhere.
        value = draw if child.proven == DRAW else -(child.total + child.waiting) / number
        score = value + weight * prior / (1 + number)
        if score > best_score or best < 0:
            best, best_score = e, score
    if here.opened < here.count:
        e = here.first + here.opened
        score = here.total / here.visits - urgency * math.sqrt(visited) + weight * edges[t, e].prior
        if score > best_score or best < 0:
            best = e
    return best


@njit(cache=True, nogil=True)
def select(
    lo, hi, nodes, edges, used, wanted, leaves, c_init, c_base, urgency, root_urgency, draws, tree,
    node, action,
):  # fmt: skip
    """Walk down the trees ``lo`` to ``hi`` to new leaves; return the number of leaves.

    Args:
        nodes: NODE[T, N].
        edges: EDGE[T, E].
        used: int64[T, 2]: number of used nodes and edges of each tree.
        wanted: int64[T]: number of simulations that are still to be begun; counted down.
        leaves: largest number of new leaves for one tree.
        draws: float64[T]: the value of a draw for the side to move in each tree's root.
        tree, node, action: int64[...]: written, for every leaf: its tree, its new node, and the
            action that leads to it from its parent; the action is -1 for a root.
    """
    found = 0
    for t in range(lo, hi):
        new = 0
        while wanted[t] > 0 and new < leaves and nodes[t, 0].proven == UNKNOWN:
            if nodes[t, 0].count == 0:  # the root's own moves are not known yet
                add_waiting(nodes, t, 0, 1)
                tree[found], node[found], action[found] = t, 0, -1
                found += 1
                wanted[t] -= 1
                break
            here, draw = 0, draws[t]
            while True:
                e = best_edge(
                    nodes, edges, t, here, c_init, c_base, urgency if here else root_urgency, draw
                )
                child = edges[t, e].child
                if child < 0 or nodes[t, child].proven or nodes[t, child].count == 0:
                    break
                here, draw = child, -draw
            if child >= 0 and nodes[t, child].proven:
                proven = nodes[t, child].proven
                add_value(nodes, t, child, -draw if proven == DRAW else VALUE[proven])
                wanted[t] -= 1
                continue
            if child >= 0 or used[t, 0] == nodes.shape[1]:
                break  # the best leaf waits already, or the tree is full
            child = used[t, 0]
            used[t, 0] += 1
            edges[t, e].child = child
            nodes[t, here].opened += 1
            leaf = nodes[t, child]
            leaf.parent, leaf.first, leaf.count, leaf.opened = here, 0, 0, 0
            leaf.proven, leaf.plies, leaf.visits, leaf.waiting, leaf.total = UNKNOWN, 0, 0, 0, 0.0
            add_waiting(nodes, t, child, 1)
            tree[found], node[found], action[found] = t, child, edges[t, e].action
            found += 1
            new += 1
            wanted[t] -= 1
    return found


@njit(cache=True, nogil=True)
def settle(tree, node, reason, result, mate, draws, nodes, edges):
    """Finish the simulations whose leaf is proven.

    Args:
        tree, node: int64[M]: the leaves.
        reason, result, mate: int64[M]: why the game is over, or 0; the mover's result; the plies of
            a mate that begins here, or 0. See ``keisei.shogi.kernels.visit_leaves``.
        draws: float64[M]: the value of a draw for the side to move in each leaf.
        nodes, edges: the trees, as in ``select``.
    """
    for j in range(len(tree)):
        if reason[j] or mate[j]:
            proven = WIN
            if reason[j] and result[j] <= 0:
                proven = LOSS if result[j] else DRAW
            add_waiting(nodes, tree[j], node[j], -1)
            value = draws[j] if proven == DRAW else VALUE[proven]
            add_value(nodes, tree[j], node[j], value)
            prove(nodes, edges, tree[j], node[j], proven, mate[j])


@njit
def within(number, lowest, highest):
    """Return the nearest number from ``lowest`` to ``highest``; NaN counts as 0."""
    return 0.0 if math.isnan(number) else min(max(number, lowest), highest)


@njit(cache=True, nogil=True)
def expand(tree, node, actions, priors, values, nodes, edges, used, temperature):
    """Give the leaves their edges, and finish their simulations.

    Args:
        tree, node: int64[M]: the leaves.
        actions: int64[M, L]: legal actions of the leaves; -1 is padding.
        priors: float32[M, L]: probabilities of these actions.
        values: float32[M]: values for the side to move.
        nodes, edges, used: the trees, as in ``select``.
        temperature: the edges' probabilities are proportional to ``priors ** (1 / temperature)``.
    """
    legal = np.empty(actions.shape[1], np.int64)
    chance = np.empty(actions.shape[1], np.float64)
    for j in range(len(tree)):
        t, leaf = tree[j], nodes[tree[j], node[j]]
        add_waiting(nodes, t, node[j], -1)
        add_value(nodes, t, node[j], within(np.float64(values[j]), -1.0, 1.0))
        number, total = 0, 0.0
        for k in range(actions.shape[1]):
            if actions[j, k] >= 0:
                legal[number] = actions[j, k]
                chance[number] = within(np.float64(priors[j, k]), 0.0, 1.0) ** (1 / temperature)
                total += chance[number]
                number += 1
        if used[t, 1] + number > edges.shape[1]:
            continue  # the tree is full: the node stays without moves
        leaf.first, leaf.count = used[t, 1], number
        used[t, 1] += number
        # The most probable move comes first: then the unvisited moves are always the last edges.
        order = np.argsort(-chance[:number], kind="mergesort")
        for k in range(number):
            edge = edges[t, leaf.first + k]
            edge.action, edge.child = legal[order[k]], -1
            edge.prior = chance[order[k]] / total if total else 0.0


@njit(cache=True, nogil=True)
def keep_subtree(t, root, nodes, edges, used, games, moved):
    """Make the node ``root`` the root of tree ``t``, and drop all nodes outside its subtree.

    ``games`` (GAME[T, N]) contains the nodes' positions. ``moved`` (int32[N]) is overwritten. Nodes
    and edges move to lower numbers, in their order, so that each can be moved in place.
    """
    edges_used = 0
    kept = 0
    for i in range(used[t, 0]):
        parent = nodes[t, i].parent
        moved[i] = -1
        if i != root and (i < root or moved[parent] < 0):
            continue
        moved[i] = kept
        if kept != i:
            nodes[t, kept] = nodes[t, i]
            games[t, kept] = games[t, i]
        new = nodes[t, kept]
        new.parent = -1 if i == root else moved[parent]
        first = new.first
        new.first = edges_used
        for k in range(new.count):
            edges[t, edges_used + k] = edges[t, first + k]
        edges_used += new.count
        kept += 1
    used[t, 0], used[t, 1] = kept, edges_used
    for e in range(edges_used):
        if edges[t, e].child >= 0:
            edges[t, e].child = moved[edges[t, e].child]


def depth(parents: Any) -> int:
    """Return the number of moves from the root to the deepest of the nodes, int32[N] of parents."""
    deepest, ancestors = 0, parents[parents >= 0]
    while len(ancestors):
        deepest, ancestors = deepest + 1, parents[ancestors]
        ancestors = ancestors[ancestors >= 0]
    return deepest

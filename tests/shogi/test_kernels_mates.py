"""The search for mates: hand-made traps, and a slow search that tries every move."""

from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

import keisei
from keisei.env import VectorEnv, material_actions, random_actions
from keisei.shogi import Position, kernels
from keisei.shogi.kernels import GAME, MASK_WORDS

rules: Any = kernels
"""The kernels. Type checkers do not know the arguments of Numba's intrinsics."""

# With an empty cache, the first tests compile the kernels.
pytestmark = pytest.mark.timeout(300)

# --- hand-made positions --------------------------------------------------------------------------

REST = "/9/9/9/9/9/K8"
ONE = {
    "a guarded gold in front of the king": ("4k4/9/4P4" + REST + " b G 1", "G*5b"),
    "a gold that nothing guards": ("3lkl3/3p1p3/9" + REST + " b G 1", None),
    "a move comes before a drop": ("4k4/9/3GP4" + REST + " b G 1", "6c5b"),
    "a pawn drop may not mate": ("7lk/7p1/8G" + REST + " b P 1", None),
    "a lance drop on the same square may": ("7lk/7p1/8G" + REST + " b PL 1", "L*1b"),
    "a pawn that moves may mate": ("7lk/7p1/8P/8L/9/9/9/9/K8 b - 1", "1c1b"),
    "the defender is pinned": ("3lk4/3pg4/5P3/9/9/9/9/9/K3R4 b G 1", "G*4b"),
    "the defender is not pinned": ("3lk4/3pg4/5P3/9/9/9/9/9/K4R3 b G 1", None),
    "the gold is pinned, but it guards": ("4k4/6b2/4PG3/9/3K5/9/9/9/9 b - 1", "5c5b+"),
    "the gold is not pinned": ("4k4/9/4PG3/9/3K5/9/9/9/9 b - 1", "4c5b"),
    "a double check": ("2g1kl3/5p3/3LN4/9/9/9/9/9/K3R4 b - 1", "5c6a+"),
    "the same without the second check": ("2g1kl3/5p3/3LN4" + REST + " b - 1", None),
    "a discovered check": ("8k/8l/6S2/9/4B4/9/9/9/K8 b - 1", "3c3b"),
    "the moved piece opens a line": ("8k/R5G2/7L1/9/9/9/9/9/K8 b - 1", "3b2a"),
    "a lance from afar": ("7lk/7p1/9/9/8p/9/9/9/K7L b - 1", "1i1e"),
    "the mover is in check": ("3lkl3/3p1p3/9/9/1+R2r4/9/9/9/4K4 b - 1", "8e5e"),
    "a knight that does not promote": ("7lk/7nl/9/9/6N2/9/9/9/K8 b - 1", "3e2c"),
    "a knight drop": ("7lk/7nl/9" + REST + " b N 1", "N*2c"),
    "a rook takes the square behind the king": ("4k4/9/4G4" + REST + " b R 1", "R*1a"),
    "who could stand between is pinned": ("7lk/7g1/9/5B3/9/9/9/9/K3R4 b - 1", "5i1i"),
    "a piece can stand between": ("7lk/7g1/9/9/9/9/9/9/K3R4 b - 1", None),
    "a dropped piece can stand between": ("7lk/7g1/9/5B3/9/9/9/9/K3R4 b p 1", None),
    "no move, but no check": ("8k/9/6+R2" + REST + " b - 1", None),
    "no king to mate": ("9/9/9" + REST + " b RG 1", None),
}


@pytest.mark.parametrize(("sfen", "move"), ONE.values(), ids=ONE.keys())
def test_a_mate_in_one_is_found_if_and_only_if_there_is_one(sfen: str, move: str | None) -> None:
    position = Position(sfen)
    assert position.mate() == move
    assert move == next(iter(mates_in_one(position)), None)


def mates_in_one(position: Position) -> list[str]:
    """Return the moves that mate at once, lowest action first, by making every legal move."""
    found = []
    for action in sorted(position.action(move) for move in position.legal_moves()):
        after = position.copy()
        after.play(action)
        if after.in_check and not after.legal_moves():
            found.append(position.usi(action))
    return found


FRAGILE = "5k3/9/5G3/6+R2/9/9/9/9/4K4 b - 1"
"""3d3b begins a mate in three. The moves can be taken back, so that positions repeat."""
CYCLE = ["3d3b", "4a5a", "3b3d", "5a4a"]


def test_a_mate_in_three_is_found_if_three_moves_are_searched() -> None:
    assert Position(FRAGILE).mate(3) == "3d3b"
    assert Position(FRAGILE).mate(1) is None
    assert Position().mate(3) is None


def test_a_mate_in_one_comes_before_a_mate_in_three() -> None:
    for sfen, move in ONE.values():
        if move:
            assert Position(sfen).mate(3) == move


@pytest.mark.parametrize("first", [1, 2], ids=["the first move", "a reply"])
def test_a_line_that_ends_by_the_fourth_repetition_is_no_mate(first: int) -> None:
    """The games begin in the position after the first move, or after the reply to it."""
    begin = Position(FRAGILE)
    for move in CYCLE[:first]:
        begin.push(move)
    position = Position(begin.sfen())
    to_the_mate = CYCLE[first:]
    for lap in range(3):
        for move in to_the_mate if lap == 0 else CYCLE[:first] + to_the_mate:
            position.push(move)
        assert position.outcome() is None
        assert position.sfen().split()[:3] == FRAGILE.split()[:3]
        assert (position.mate(3) == "3d3b") == (lap < 2)


def test_only_one_and_three_moves_can_be_searched() -> None:
    for moves in (0, 2, 5):
        with pytest.raises(ValueError, match=f"moves is {moves}, not 1 or 3"):
            Position().mate(moves)


# --- many positions -------------------------------------------------------------------------------


@njit
def legal_actions(game: Any, mask: Any) -> None:
    rows, _, _, _ = rules.legal_rows(rules.load_view(game.board), game)
    rules.pack(mask, 0, rows)


@njit
def lowest_mate(game: Any, scratch: Any, mask: Any) -> int:
    """Return the lowest action that mates at once, or -1, by making every legal move."""
    legal_actions(game, mask)
    for w in range(MASK_WORDS):
        word = mask[0, w]
        while word:
            action: int = w * 64 + rules.first(word)
            word &= word - np.uint64(1)
            scratch[0] = game
            view = rules.make_move(scratch[0], action)
            replies, in_check, _, _ = rules.legal_rows(view, scratch[0])
            if in_check and not rules.some(rules.union(replies)):
                return action
    return -1


@njit
def slow_mates(games: Any, mate: Any) -> None:
    scratch, mask = np.empty(1, GAME), np.empty((1, MASK_WORDS), np.uint64)
    for g in range(len(games)):
        mate[g] = lowest_mate(games[g], scratch, mask)


@njit
def begins_mate_in_three(game: Any, action: int, lines: Any, masks: Any) -> bool:
    """Return whether ``action`` gives check and each reply allows a mate in one.

    History is ignored.
    """
    lines[0] = game
    view = rules.make_move(lines[0], action)
    replies, in_check, _, _ = rules.legal_rows(view, lines[0])
    if not in_check:
        return False
    rules.pack(masks[:1], 0, replies)
    for w in range(MASK_WORDS):
        word = masks[0, w]
        while word:
            reply = w * 64 + rules.first(word)
            word &= word - np.uint64(1)
            lines[1] = lines[0]
            rules.make_move(lines[1], reply)
            if lowest_mate(lines[1], lines[2:], masks[1:2]) < 0:
                return False
    return True


@njit
def slow_mates_in_three(games: Any, claimed: Any, exists: Any, true: Any) -> None:
    """Write whether each game has a mate in three, and whether ``claimed`` begins one."""
    lines, masks = np.empty(3, GAME), np.empty((3, MASK_WORDS), np.uint64)
    for g in range(len(games)):
        exists[g] = false = False
        legal_actions(games[g], masks[2:])
        for w in range(MASK_WORDS):
            word = masks[2, w]
            while word and not exists[g]:
                action = w * 64 + rules.first(word)
                word &= word - np.uint64(1)
                exists[g] = begins_mate_in_three(games[g], action, lines, masks)
        if claimed[g] >= 0:
            false = not begins_mate_in_three(games[g], np.int64(claimed[g]), lines, masks)
        true[g] = not false


def advance(env: VectorEnv, rng: NDArray[np.uint64], material: float, plies: int) -> None:
    """Play ``plies`` moves in each game: material moves with the given probability, else random."""
    chance = np.random.default_rng(int(rng[0]))
    for _ in range(plies):
        actions = random_actions(env.mask, rng)
        if material:
            chosen = chance.random(len(env)) < material
            actions[chosen] = material_actions(env.games, rng)[chosen]
        env.step(actions)


def test_every_mate_in_one_of_some_games_is_found() -> None:
    """The slow search is Python's: it makes every move of some positions of random games."""
    env = VectorEnv(250, max_ply=400, reset_pool=0, mates=1)
    env.stagger()
    found = 0
    for i in range(len(env)):
        position = Position(env.sfen(i))
        mates = mates_in_one(position)
        move = position.usi(int(env.mate[i])) if env.mate[i] >= 0 else None
        assert move == position.mate() == next(iter(mates), None), position.sfen()
        found += bool(mates)
    assert found >= 3


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("player", ["random", "material", "shipped"])
def test_half_a_million_positions_have_exactly_the_mates_in_one_of_the_slow_search(
    player: str,
) -> None:
    """The games are random, or of the material player with some random moves, or self-play."""
    games, rng = 2000, np.array([7], np.uint64)
    env = VectorEnv(games, max_ply=400, reset_pool=0, mates=1)
    env.stagger()
    agent = keisei.load("shipped", "cpu").agent
    slow, found = np.empty(games, np.int16), 0
    for _ in range(250):
        if player == "shipped":
            actions, _ = agent.choose(env.observation, env.mask)
            env.step(np.where(env.mate >= 0, env.mate, actions))
        else:
            advance(env, rng, 0.9 if player == "material" else 0.0, plies=1)
        slow_mates(env.games, slow)
        wrong = np.flatnonzero(slow != env.mate)
        assert not len(wrong), [env.sfen(int(i)) for i in wrong]
        found += int((slow >= 0).sum())
    print(f"{found / (250 * games):.4f} of the positions have a mate in one")
    assert found > 1000


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_every_mate_in_three_of_twenty_thousand_positions_is_true() -> None:
    """History is left out of both searches: each claimed mate is proven again by the slow one."""
    games, rng, all_found, all_there = 1000, np.array([7], np.uint64), 0, 0
    env = VectorEnv(games, max_ply=400, reset_pool=0, mates=3)
    env.stagger()
    for material in (0.0, 0.9):
        for _ in range(10):
            advance(env, rng, material, plies=15)
            one, exists, true = (np.empty(games, np.int64) for _ in range(3))
            slow_mates(env.games, one)
            claimed = np.where(one < 0, env.mate, -1)
            slow_mates_in_three(env.games, claimed, exists, true)
            assert true.all(), [env.sfen(int(i)) for i in np.flatnonzero(true == 0)]
            assert (env.mate[one >= 0] == one[one >= 0]).all()
            all_found += int((claimed >= 0).sum())
            all_there += int(((exists == 1) & (one < 0)).sum())
    print(f"{all_found} of {all_there} mates in three found")
    assert all_found >= 0.95 * all_there > 100

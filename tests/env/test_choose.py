"""Legal lists and the players without a network give what slow readable versions give."""

import numpy as np
import pytest

from keisei.env import VectorEnv, legal_lists, material_actions, random_actions
from keisei.shogi import Position
from keisei.shogi.sfen import read_sfen

VALUES = {
    "P": 1, "L": 3, "N": 3, "S": 4, "G": 5, "B": 8, "R": 9,
    "+P": 4, "+L": 4, "+N": 4, "+S": 4, "+B": 11, "+R": 13,
}  # fmt: skip


def piece_on(position: Position, square: str) -> str | None:
    """Return the piece on a USI square, from the SFEN: a capital with its ``+``."""
    row = position.sfen().split("/")["abcdefghi".index(square[1])].split()[0]
    cells: list[str | None] = []
    plus = ""
    for letter in row:
        if letter == "+":
            plus = "+"
        elif letter.isdigit():
            cells += [None] * int(letter)
        else:
            cells.append(plus + letter.upper())
            plus = ""
    return cells[9 - int(square[0])]


def best_moves(position: Position) -> set[str]:
    """Return the moves that the material player may choose from."""
    wins, worth = set(), {}
    for usi in position.legal_moves():
        after = position.copy()
        after.push(usi)
        if not after.legal_moves():
            wins.add(usi)
        taken = piece_on(position, usi[2:4]) if usi[1] != "*" else None
        worth[usi] = VALUES[taken] if taken else 0
    return wins or {usi for usi in worth if worth[usi] == max(worth.values())}


@pytest.fixture(scope="module")
def env() -> VectorEnv:
    """Games at all stages."""
    env = VectorEnv(120, max_ply=300, seed=3, reset_pool=0)
    env.stagger()
    return env


def test_a_legal_list_holds_the_legal_actions_in_order(env: VectorEnv) -> None:
    actions, counts = legal_lists(env.mask)
    assert actions.dtype == np.int64
    assert counts.dtype == np.int32
    assert actions.shape == (120, counts.max())
    for g in range(120):
        expected = [a for a in range(2187) if int(env.mask[g, a // 64]) >> a % 64 & 1]
        assert actions[g].tolist() == expected + [-1] * (actions.shape[1] - len(expected))
        assert counts[g] == len(expected)


def test_the_legal_lists_of_empty_masks_have_length_zero() -> None:
    actions, counts = legal_lists(np.zeros((2, 35), np.uint64))
    assert actions.shape == (2, 0)
    assert counts.tolist() == [0, 0]


def test_random_actions_are_uniform() -> None:
    mask = np.repeat(VectorEnv(1, reset_pool=0).mask, 30_000, axis=0)
    drawn = random_actions(mask, np.array([1], np.uint64))
    moves, times = np.unique(drawn, return_counts=True)
    assert len(moves) == 30
    assert 850 < times.min() <= times.max() < 1150  # 1000 each, 5 standard deviations


def test_random_actions_advance_their_generator(env: VectorEnv) -> None:
    rng = np.array([1], np.uint64)
    first, second = random_actions(env.mask, rng), random_actions(env.mask, rng)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, random_actions(env.mask, np.array([1], np.uint64)))


def test_the_material_player_chooses_one_of_the_best_moves(env: VectorEnv) -> None:
    rng = np.array([1], np.uint64)
    captures = 0
    for _ in range(2):
        chosen = material_actions(env.games, rng)
        for g in range(0, len(env), 2):
            position = Position(env.sfen(g))
            usi = position.usi(int(chosen[g]))
            assert usi in best_moves(position), env.sfen(g)
            captures += usi[1] != "*" and piece_on(position, usi[2:4]) is not None
        env.step(chosen)
    assert captures > 20


@pytest.mark.parametrize(
    ("sfen", "moves"),
    [
        ("4k4/9/4P4/9/9/9/9/9/4K4 b G 1", {"G*5b"}),  # mate
        ("8k/7r1/6NG1/9/9/9/9/9/4K4 b P 1", {"2c2b"}),  # the rook
        ("4k4/9/9/2b1p4/3S5/4L4/9/9/4K4 b - 1", {"6e7d"}),  # bishop before pawn
        ("8k/7s1/6GP1/9/9/9/9/9/4K4 b - 1", {"2c2b+", "3c2b"}),  # mate by capture, two ways
        ("4k4/9/9/9/4p1p2/4S2S1/9/9/4K4 b - 1", {"5f5e", "2f3e"}),  # two pawns
        ("4k4/9/9/9/9/9/9/9/4K4 b - 1", {"5i5h", "5i4h", "5i6h", "5i4i", "5i6i"}),
    ],
)
def test_the_material_player_makes_each_of_the_equally_good_moves(
    sfen: str, moves: set[str]
) -> None:
    """It makes no other move."""
    games = np.repeat(read_sfen(sfen)[0], 200)
    position = Position(sfen)
    chosen = material_actions(games, np.array([1], np.uint64))
    found = {position.usi(int(action)) for action in chosen}
    assert found == moves == best_moves(position)


def test_a_row_without_a_legal_move_is_refused() -> None:
    mated = read_sfen("4k4/4G4/4P4/9/9/9/9/9/4K4 w - 1")[0]
    with pytest.raises(ValueError, match="row 0 has no legal action"):
        material_actions(mated, np.array([1], np.uint64))
    masks = np.zeros((2, 35), np.uint64)
    masks[0, 0] = 1
    with pytest.raises(ValueError, match="row 1 has no legal action"):
        random_actions(masks, np.array([1], np.uint64))

"""Local players move by themselves, by their own random numbers."""

import numpy as np
import pytest

from keisei.env import observe_position
from keisei.evaluation.local import KINDS, LOCAL_PLAYERS, Kind, local_move
from keisei.shogi import Position
from keisei.shogi.sfen import read_sfen


@pytest.mark.parametrize("kind", LOCAL_PLAYERS)
def test_the_random_numbers_decide_the_move(kind: Kind) -> None:
    position = Position()
    game, (_, mask) = read_sfen(position.sfen())[0], observe_position(position, 512)
    rngs = [np.array([seed], np.uint64) for seed in (1, 1, 2, 3, 4)]
    moves = [local_move(kind, game, mask, rng) for rng in rngs]
    assert moves[0] == moves[1]
    assert len(set(moves)) > 1
    assert all(position.usi(move) in position.legal_moves() for move in moves)
    assert rngs[0] != 1, "the generator is advanced"


def test_local_players_are_kinds_of_players() -> None:
    assert set(LOCAL_PLAYERS) < set(KINDS)

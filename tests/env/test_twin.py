"""A position and its colour-flipped twin look the same to the side to move."""

import numpy as np

from keisei.env import VectorEnv, random_actions


def flip(sfen: str) -> str:
    """Turn the board round and swap the colours."""
    board, side, hands, number = sfen.split()
    turned = "/".join(_reversed(row) for row in reversed(board.split("/")))
    return f"{turned.swapcase()} {'w' if side == 'b' else 'b'} {hands.swapcase()} {number}"


def _reversed(row: str) -> str:
    """The row backwards; a ``+`` stays before its piece."""
    pieces, plus = [], ""
    for letter in row:
        if letter == "+":
            plus = "+"
        else:
            pieces.append(plus + letter)
            plus = ""
    return "".join(reversed(pieces))


def test_observation_and_mask_of_the_twin() -> None:
    games, rng = 64, np.array([3], np.uint64)
    env = VectorEnv(games, max_ply=300, reset_pool=0)
    env.stagger()
    for _ in range(20):
        env.step(random_actions(env.mask, rng))
        twin = VectorEnv(games, max_ply=300, reset_pool=0)
        twin.start_from([flip(env.sfen(g)) for g in range(games)])
        assert np.array_equal(twin.mask, env.mask)
        assert np.array_equal(twin.observation[:, :95], env.observation[:, :95])
        assert np.array_equal(twin.observation[:, 96], env.observation[:, 96])
        assert (twin.games["side"] != env.games["side"]).all()


def test_twin_games_stay_twins() -> None:
    """Played with the same actions from twin starts, history and ends included."""
    start = "4k4/9/9/9/R8/9/9/9/4K4 b 2p 1"
    env = VectorEnv(2, max_ply=60, reset_pool=0)
    env.start_from([start, flip(start)])
    rng = np.array([8], np.uint64)
    while True:
        assert np.array_equal(env.observation[0], env.observation[1])
        action = random_actions(env.mask[:1], rng)[0]
        result = env.step(np.array([action, action]))
        assert result.reward[0] == result.reward[1]
        assert result.winner[0] == -result.winner[1]
        if result.terminated[0] or result.truncated[0]:
            assert result.reason[0] == result.reason[1]
            break

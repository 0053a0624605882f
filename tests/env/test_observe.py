"""A single position is observed as training observes it."""

import numpy as np

from keisei.env import VectorEnv, observe_position, observe_sfen, random_actions
from keisei.shogi import Position


def test_observations_are_those_of_training() -> None:
    rng = np.array([5], np.uint64)
    for seed in range(4):
        env, position = VectorEnv(1, max_ply=200, seed=seed, reset_pool=0), Position()
        cycle = ["2h3h", "8b7b", "3h2h", "7b8b"] * 2
        while True:
            observation, mask = observe_position(position, 200)
            np.testing.assert_array_equal(observation, env.observation)
            np.testing.assert_array_equal(mask, env.mask)
            action = position.action(cycle.pop(0)) if cycle else int(random_actions(mask, rng)[0])
            step = env.step(np.array([action]))
            if step.terminated[0] or step.truncated[0]:
                break
            position.play(action)
        assert position.ply > 8


def test_the_ply_of_an_sfen_is_its_move_number_less_one() -> None:
    position = Position()
    for usi in ("7g7f", "3c3d"):
        position.push(usi)
    for found, expected in zip(
        observe_sfen(position.sfen(), 100), observe_position(position, 100), strict=True
    ):
        np.testing.assert_array_equal(found, expected)

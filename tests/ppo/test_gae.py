"""Advantages and targets equal slow computations and keep their identities."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from keisei.ppo.gae import negamax_gae, outcome_targets


def no(shape: tuple[int, int]) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.bool)


def test_a_decided_game_returns_plus_and_minus_one_whatever_the_values() -> None:
    plies = 9
    reward = torch.zeros(plies, 1)
    reward[-1] = 1  # the mover of the last ply mates
    end = no((plies, 1))
    end[-1] = True
    value = torch.randn(plies, 1)
    following = torch.cat((value[1:], torch.randn(1, 1)))
    advantage = negamax_gae(reward, end, no((plies, 1)), value, following, 1.0, 1.0)
    returns = (advantage + value)[:, 0]
    assert returns.tolist() == pytest.approx([1, -1, 1, -1, 1, -1, 1, -1, 1], abs=1e-5)


def oracle(
    reward: np.ndarray, terminated: np.ndarray, truncated: np.ndarray, value: np.ndarray,
    following: np.ndarray, gamma: float, lam: float,
) -> np.ndarray:  # fmt: skip
    """Sum the deltas of one game forwards, as the definition does."""
    advantage = np.zeros(len(reward))
    for t in range(len(reward)):
        factor = 1.0
        for k in range(t, len(reward)):
            bootstrap = 0.0 if terminated[k] else gamma * following[k]
            advantage[t] += factor * (reward[k] - bootstrap - value[k])
            if terminated[k] or truncated[k]:
                break
            factor *= -gamma * lam
    return advantage


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    gamma=st.sampled_from([1.0, 0.997, 0.9]),
    lam=st.sampled_from([0.0, 0.8, 0.95, 1.0]),
)
def test_advantages_and_targets_equal_their_definition_at_ends_cuts_and_the_edge(
    seed: int, gamma: float, lam: float
) -> None:
    rng = np.random.default_rng(seed)
    shape = 12, 3
    kind = rng.choice(3, shape, p=[0.7, 0.15, 0.15])
    terminated, truncated = kind == 1, kind == 2
    reward = np.where(terminated, rng.integers(-1, 2, shape), 0).astype(np.float32)
    outcome = rng.dirichlet([1, 1, 1], shape).astype(np.float32)
    following = rng.dirichlet([1, 1, 1], shape).astype(np.float32)
    value, next_value = (x[..., 0] - x[..., 2] for x in (outcome, following))
    ends = [torch.from_numpy(x) for x in (reward, terminated, truncated)]

    found = negamax_gae(*ends, torch.tensor(value), torch.tensor(next_value), gamma, lam)
    for game in range(shape[1]):
        column = (x[:, game] for x in (reward, terminated, truncated, value, next_value))
        expected = oracle(*column, gamma, lam)
        np.testing.assert_allclose(found[:, game].numpy(), expected, atol=1e-5)

    # P(win) - P(loss) of a target is V + A only if next_outcome is the outcome of the next row.
    chained = following.copy()
    goes_on = ~(terminated | truncated)[:-1]
    chained[:-1][goes_on] = outcome[1:][goes_on]
    next_value = chained[..., 0] - chained[..., 2]
    advantage = negamax_gae(*ends, torch.tensor(value), torch.tensor(next_value), gamma, lam)
    target = outcome_targets(*ends, torch.tensor(chained), gamma, lam)
    np.testing.assert_allclose(target.sum(-1), 1, atol=1e-5)
    assert (target >= 0).all()
    np.testing.assert_allclose(
        (target[..., 0] - target[..., 2]).numpy(), (advantage.numpy() + value), atol=1e-5
    )


def test_a_cut_game_is_no_draw() -> None:
    """Its target is the outcome of the final position, swapped for the side that moved."""
    cut, following = no((1, 1)), torch.tensor([[[0.7, 0.2, 0.1]]])
    cut[0] = True
    target = outcome_targets(torch.zeros(1, 1), no((1, 1)), cut, following, 1.0, 0.95)
    torch.testing.assert_close(target[0, 0], torch.tensor([0.1, 0.2, 0.7]))


def test_a_drawn_game_is_a_draw() -> None:
    end = no((1, 1))
    end[0] = True
    target = outcome_targets(
        torch.zeros(1, 1), end, no((1, 1)), torch.full((1, 1, 3), 1 / 3), 0.997, 0.95
    )
    assert target[0, 0].tolist() == [0, 1, 0]


def test_a_win_that_is_worth_less_is_in_part_a_draw() -> None:
    end, reward = ~no((1, 2)), torch.tensor([[0.25, -0.25]])
    target = outcome_targets(reward, end, no((1, 2)), torch.full((1, 2, 3), 1 / 3), 0.997, 0.95)
    assert target[0].tolist() == [[0.25, 0.75, 0], [0, 0.75, 0.25]]

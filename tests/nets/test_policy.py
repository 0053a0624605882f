"""Devices, legal log-probabilities, sampling and agents."""

from typing import Any

import numpy as np
import pytest
import torch

from keisei.env import VectorEnv
from keisei.nets import policy
from keisei.nets.policy import Agent, DeviceError, legal_columns, legal_log_probs, sample
from keisei.nets.registry import build
from keisei.shogi import Position

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def games() -> VectorEnv:
    env = VectorEnv(48, seed=3)
    env.stagger()
    return env


def masks(env: VectorEnv) -> torch.Tensor:
    """Return the packed legal masks, int64[N, 35]."""
    return torch.from_numpy(env.mask.view(np.int64))


def bits(env: VectorEnv) -> np.ndarray:
    """Return the legal masks as bool[N, 2187]."""
    return np.unpackbits(env.mask.view(np.uint8), axis=1, bitorder="little")[:, :2187].astype(bool)


def test_the_columns_of_a_cpu_are_the_legal_actions(games: VectorEnv) -> None:
    for row, legal in zip(legal_columns(masks(games)), bits(games), strict=True):
        assert row[row >= 0].tolist() == np.flatnonzero(legal).tolist()


def test_the_wide_columns_of_a_gpu_hold_the_same_actions(games: VectorEnv) -> None:
    wide = policy._unpack(masks(games))
    assert wide.shape == (48, 2187)
    for row, legal in zip(wide, bits(games), strict=True):
        assert row[row >= 0].tolist() == np.flatnonzero(legal).tolist()


@pytest.mark.parametrize("columns", [legal_columns, policy._unpack])
def test_log_probs_equal_a_masked_softmax(games: VectorEnv, columns: Any) -> None:
    logits = torch.randn(48, 2187, generator=torch.Generator().manual_seed(1), requires_grad=True)
    legal = columns(masks(games))
    log_probs = legal_log_probs(logits, legal)
    wide = logits.masked_fill(~torch.from_numpy(bits(games)), -torch.inf).log_softmax(1)
    chosen = wide.gather(1, legal.clamp(min=0))
    torch.testing.assert_close(log_probs[legal >= 0], chosen[legal >= 0])
    assert log_probs.exp()[legal < 0].sum() == 0

    weight = torch.where(legal >= 0, torch.randn(legal.shape), 0)
    (ours,) = torch.autograd.grad((log_probs * weight).sum(), logits)
    (theirs,) = torch.autograd.grad((chosen.masked_fill(legal < 0, 0) * weight).sum(), logits)
    torch.testing.assert_close(ours, theirs)


def test_a_position_without_a_legal_move_is_refused() -> None:
    mask = torch.zeros(2, 35, dtype=torch.int64)
    mask[0, 0] = 1
    with pytest.raises(ValueError, match="position 1 of the batch has no legal action"):
        legal_columns(mask)


def test_sampling_follows_the_probabilities_and_never_picks_padding() -> None:
    logits = torch.tensor([0.5, 0.2, 0.3, 0.0]).log().clamp(min=policy.ILLEGAL)
    draw = torch.rand(20_000, generator=torch.Generator().manual_seed(2))
    drawn, log_prob = sample(logits.expand(20_000, 4), draw)
    shares = torch.bincount(drawn[:, 0], minlength=4) / 20_000
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.2, 0.3, 0.0]), atol=0.015, rtol=0)
    assert shares[3] == 0
    torch.testing.assert_close(log_prob[:, 0], logits.log_softmax(0)[drawn[:, 0]])


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-24])
def test_sampling_never_picks_padding_at_the_ends_of_the_range(draw: float) -> None:
    logits = torch.randn(5000, 40, generator=torch.Generator().manual_seed(3)) * 10
    logits[:, :4] = logits[:, 30:] = policy.ILLEGAL
    drawn, log_prob = sample(logits, torch.full((5000,), draw))
    assert ((drawn >= 4) & (drawn < 30)).all()
    torch.testing.assert_close(log_prob, logits.log_softmax(1).gather(1, drawn))


def test_an_agent_chooses_the_same_moves_whatever_the_batch_size(games: VectorEnv) -> None:
    agent = Agent(build("se_resnet", blocks=1, channels=16), CPU, torch.float32)
    actions, value = agent.choose(games.observation, games.mask, greedy=True)
    assert actions.dtype == np.int16
    assert bits(games)[np.arange(48), actions].all()
    assert (np.abs(value) <= 1).all()
    for count in (0, 1, 33):
        some, few = agent.choose(games.observation[:count], games.mask[:count], greedy=True)
        assert some.tolist() == actions[:count].tolist()
        np.testing.assert_allclose(few, value[:count], atol=1e-5)


def test_an_agent_answers_the_same_with_colours_exchanged() -> None:
    """The second line reaches the same position for gote: sente's gold loses a move."""
    agent = Agent(build("se_resnet", blocks=2, channels=16, seed=3), CPU, torch.float32)
    answers = []
    for line in ("7g7f 8c8d", "2g2f 3c3d 6i7h 8b7b 7h6h 7b8b 6h6i"):
        env, position = VectorEnv(1, reset_pool=0), Position()
        for move in line.split():
            env.step(np.array([position.action(move)]))
            position.push(move)
        env.observation[:, 97] = 0  # the ply
        answers.append((position.side, agent.top_and_values(env.observation, env.mask, 600)))
    (black, ours), (white, theirs) = answers
    assert (black, white) == ("black", "white")
    assert ours[0] == theirs[0]
    assert ours[1] == theirs[1]


def test_top_moves_are_the_legal_moves_by_probability(games: VectorEnv) -> None:
    agent = Agent(build("se_resnet", blocks=1, channels=16), CPU, torch.float32)
    for row, legal in zip(agent.top(games.observation, games.mask, 600), bits(games), strict=True):
        assert sorted(action for action, _ in row) == np.flatnonzero(legal).tolist()
        chances = [chance for _, chance in row]
        assert chances == sorted(chances, reverse=True)
        assert sum(chances) == pytest.approx(1, abs=1e-4)


def test_a_snapshot_keeps_its_weights_while_the_network_learns(games: VectorEnv) -> None:
    agent = Agent(build("se_resnet", blocks=1, channels=16), CPU, torch.float32)
    copy = agent.snapshot()
    before = copy.choose(games.observation, games.mask, greedy=True)[1]
    with torch.no_grad():
        for parameter in agent.net.parameters():
            parameter.add_(0.1)
    np.testing.assert_array_equal(
        copy.choose(games.observation, games.mask, greedy=True)[1], before
    )
    assert (agent.choose(games.observation, games.mask, greedy=True)[1] != before).any()


def test_an_agent_samples_by_its_own_generator(games: VectorEnv) -> None:
    net = build("se_resnet", blocks=1, channels=16)
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    first, second = (Agent(net, CPU, torch.float32, seed=4) for _ in range(2))
    moves = first.choose(games.observation, games.mask)[0]
    assert torch.equal(torch.rand(2), expected)
    np.testing.assert_array_equal(second.choose(games.observation, games.mask)[0], moves)


def test_the_temperature_lies_between_greedy_and_uniform(games: VectorEnv) -> None:
    net = build("mlp", blocks=1, channels=16)
    for weights in net.parameters():
        weights.data *= 4  # a policy that is not nearly uniform
    agent = Agent(net, CPU, torch.float32)
    one = slice(0, 1)
    rows = np.zeros(4000, np.intp)
    seen, mask = games.observation[one][rows], games.mask[one][rows]
    draw = np.random.default_rng(1).random(4000, np.float32)
    (moves,) = agent.top(games.observation[one], games.mask[one], k=600)
    best, legal = moves[0][0], len(moves)

    def share_of_best(**how: Any) -> float:
        actions, _ = agent.choose(seen, mask, draw=draw, **how)
        return float((actions == best).mean())

    assert share_of_best(temperature=0.01) > 0.9
    assert share_of_best(temperature=1.0) == share_of_best()
    assert abs(share_of_best() - moves[0][1]) < 0.02
    assert abs(share_of_best(temperature=100.0) - 1 / legal) < 0.02
    assert share_of_best(temperature=0.5) > share_of_best() > share_of_best(temperature=2.0)


def test_a_search_gets_the_whole_policy_and_the_values(games: VectorEnv) -> None:
    agent = Agent(build("mlp", blocks=1, channels=16), CPU, torch.float32)
    actions, shares, values = agent.assess(games.observation, games.mask)
    whole, expected = agent.top_and_values(games.observation, games.mask, k=600)
    assert np.array_equal(values, expected)
    for row, share, moves in zip(actions, shares, whole, strict=True):
        assert dict(zip(row[row >= 0], share[row >= 0], strict=True)) == pytest.approx(dict(moves))
        assert (share[row < 0] == 0).all()


def test_the_error_of_a_missing_gpu_names_the_device() -> None:
    with pytest.raises(DeviceError, match="cuda:99 is not available; number of CUDA devices"):
        policy.resolve_device("cuda:99")

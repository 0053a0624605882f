"""Training on recorded games: losses, held-out games, learning rate, best weights."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from keisei.config import PPO
from keisei.nets.policy import evaluate, legal_columns
from keisei.nets.registry import build
from keisei.ppo.supervised import (
    Examination,
    Score,
    Trained,
    examine,
    hold_out,
    minibatches,
    supervised_losses,
    teach,
    train,
)
from keisei.records import UNKNOWN, GameRecord, Positions, replay
from keisei.shogi import START_SFEN, Position

CPU = torch.device("cpu")


def games(count: int, plies: int = 12) -> list[GameRecord]:
    """Return random openings, won by black and white in turn."""
    rng = random.Random(5)
    found = []
    for number in range(count):
        position, moves = Position(), []
        for _ in range(plies):
            moves.append(rng.choice(position.legal_moves()))
            position.push(moves[-1])
        winner = "black" if number % 2 else "white"
        found.append(GameRecord(START_SFEN, tuple(moves), winner, "resign", f"a.usi:{number}"))
    return found


@pytest.fixture(scope="module")
def positions() -> Positions:
    return replay(games(10), max_ply=256)


def net(seed: int = 1) -> nn.Module:
    return build("se_resnet", blocks=1, channels=16, seed=seed)


def losses_of(net: nn.Module, positions: Positions) -> torch.Tensor:
    mask = torch.from_numpy(positions.mask.view(np.int64))
    with torch.no_grad():
        policy, outcome = evaluate(net, torch.from_numpy(positions.observation), torch.float32)
    action, result = (torch.from_numpy(a).long() for a in (positions.action, positions.outcome))
    return supervised_losses(policy, outcome, legal_columns(mask), action, result)


def draw_probability(net: nn.Module, positions: Positions) -> float:
    with torch.no_grad():
        seen = torch.from_numpy(positions.observation)
        return float(evaluate(net, seen, torch.float32)[1].softmax(1)[:, 1].mean())


def test_losses_equal_those_of_the_textbook(positions: Positions) -> None:
    """Compare with a softmax over all 2,187 actions in which the illegal ones are masked."""
    model = net()
    policy, outcome = evaluate(model, torch.from_numpy(positions.observation), torch.float32)
    bits = np.unpackbits(positions.mask.view(np.uint8), axis=1, bitorder="little")[:, : 27 * 81]
    masked = policy.masked_fill(~torch.from_numpy(bits).bool(), -1e9)
    action = torch.from_numpy(positions.action).long()
    result = torch.from_numpy(positions.outcome).long()
    found = losses_of(model, positions)
    expected = nn.functional.cross_entropy(masked, action, reduction="none")
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=1e-5)
    expected = nn.functional.cross_entropy(outcome, result, reduction="none")
    torch.testing.assert_close(found[1], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[3], (masked.argmax(1) == action).float())


def test_an_unknown_result_weighs_nothing_in_the_value(positions: Positions) -> None:
    outcome = positions.outcome.copy()
    outcome[::2] = UNKNOWN
    model = net()
    half = losses_of(model, replace(positions, outcome=outcome))
    whole = losses_of(model, positions)
    assert half[2].tolist() == [0.0, 1.0] * (len(positions) // 2)
    assert (half[1, ::2] == 0).all()
    torch.testing.assert_close(half[1, 1::2], whole[1, 1::2])
    torch.testing.assert_close(half[0], whole[0])
    score = examine(model, replace(positions, outcome=outcome), PPO(), CPU, torch.float32)
    assert score.loss_value == pytest.approx(float(whole[1, 1::2].mean()), abs=1e-5)


def test_without_any_result_the_value_head_stays_and_the_policy_learns(
    positions: Positions,
) -> None:
    silent = replace(positions, outcome=np.full(len(positions), UNKNOWN, np.int8))
    model, ppo = net(), PPO(minibatch=60, weight_decay=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in teach(model, silent, ppo, epochs=2, seed=0, device=CPU, dtype=torch.float32):
        pass
    after = model.state_dict()
    assert torch.equal(after["outcome.weight"], before["outcome.weight"])
    assert not torch.equal(after["heads.weight"], before["heads.weight"])
    score = examine(model, silent, ppo, CPU, torch.float32)
    assert math.isnan(score.loss_value)
    assert score.loss(1.0) == score.loss_policy


def test_it_learns_a_few_games_by_heart() -> None:
    positions = replay(games(3), max_ply=256)
    model, ppo = net(), PPO(minibatch=18, learning_rate=1e-2, learning_rate_final=1e-3)
    before = examine(model, positions, ppo, CPU, torch.float32)
    seen = list(teach(model, positions, ppo, epochs=100, seed=0, device=CPU, dtype=torch.float32))
    assert len(seen) == 100 * minibatches(positions, ppo) == 200
    after = examine(model, positions, ppo, CPU, torch.float32)
    assert before.accuracy < 0.2
    assert after.accuracy > 0.8
    assert after.loss_policy < before.loss_policy / 3
    assert after.loss_value < before.loss_value / 3
    assert (
        0.005 < draw_probability(model, positions) < 0.05
    )  # no draw was seen, yet none is excluded
    # The yielded means are those of the minibatches learned from.
    assert seen[-1][3] > seen[0][3]
    assert seen[0].tolist()[:2] == pytest.approx([before.loss_policy, before.loss_value], rel=0.2)


def trained(
    positions: Positions, ppo: PPO, *, epochs: int = 3, stop_after: int = 10**6
) -> tuple[Trained, nn.Module, list[int]]:
    """Return the result of ``train``, the network afterwards, and its minibatches' numbers."""
    model, done = net(), []
    examined: list[Examination] = []
    result = train(
        model,
        positions,
        positions,
        ppo,
        epochs=epochs,
        seed=0,
        device=CPU,
        dtype=torch.float32,
        should_stop=lambda: len(done) >= stop_after,
        on_minibatch=lambda number, means: done.append(number),
        on_examination=examined.append,
    )
    assert tuple(examined) == result.examinations
    return result, model, done


def test_the_weights_with_the_lowest_loss_are_kept(positions: Positions) -> None:
    good, model, done = trained(positions, PPO(minibatch=30))
    assert done == [*range(1, 3 * 4 + 1)]
    assert [found.epoch for found in good.examinations] == [0, 1, 2, 3]
    assert good.best == good.examinations[-1]
    assert all(torch.equal(good.weights[k], v) for k, v in model.state_dict().items())
    bad, *_ = trained(positions, PPO(minibatch=30, learning_rate=0.5, learning_rate_final=0.5))
    assert bad.best == bad.examinations[0]
    assert bad.best.loss == bad.best.score.loss(1.0) < bad.examinations[-1].loss
    assert all(torch.equal(bad.weights[k], v) for k, v in net().state_dict().items())


def test_training_stops_within_an_epoch_and_examines_the_network_there(
    positions: Positions,
) -> None:
    result, _, done = trained(positions, PPO(minibatch=30), stop_after=5)
    assert done == [1, 2, 3, 4, 5]
    assert [found.epoch for found in result.examinations] == [0, 1, 1.25]


def test_the_learning_rate_falls_to_its_last_value(
    positions: Positions, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = []

    def record(net: nn.Module, optimizer: torch.optim.Optimizer, *rest: object) -> None:
        rates.append(optimizer.param_groups[0]["lr"])

    monkeypatch.setattr("keisei.ppo.supervised.optimise", record)
    ppo = PPO(minibatch=30, learning_rate=1e-2, learning_rate_final=1e-3)
    list(teach(net(), positions, ppo, epochs=3, seed=0, device=CPU, dtype=torch.float32))
    assert rates[0] == 1e-2
    assert rates[-1] == pytest.approx(1e-3 + 9e-3 / 12)
    assert rates == sorted(rates, reverse=True)


def test_the_seed_decides_the_weights(positions: Positions) -> None:
    def weights(seed: int) -> torch.Tensor:
        model = net()
        steps = teach(
            model,
            positions,
            PPO(minibatch=30),
            epochs=2,
            seed=seed,
            device=CPU,
            dtype=torch.float32,
        )
        list(steps)
        return torch.cat([value.flatten() for value in model.state_dict().values()])

    first = weights(1)
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))


def test_games_are_held_out_whole() -> None:
    collection = games(20)
    learned, held_out = hold_out(collection, 0.25, seed=1)
    assert (len(learned), len(held_out)) == (15, 5)
    assert {game.source for game in learned} | {game.source for game in held_out} == {
        game.source for game in collection
    }
    assert hold_out(collection, 0.25, seed=1) == (learned, held_out)
    assert hold_out(collection, 0.25, seed=2)[1] != held_out


def test_a_repeated_game_is_not_on_both_sides() -> None:
    collection = games(4)
    learned, held_out = hold_out(collection * 3, 0.5, seed=1)
    assert len(learned) + len(held_out) == 4
    assert not {game.moves for game in learned} & {game.moves for game in held_out}


@pytest.mark.parametrize(("share", "held"), [(0.001, 1), (0.999, 2)])
def test_at_least_one_game_is_on_either_side(share: float, held: int) -> None:
    assert len(hold_out(games(3), share, seed=1)[1]) == held


def test_one_game_is_too_few() -> None:
    with pytest.raises(ValueError, match=r"two different games or more are needed \(got 1\)"):
        hold_out(games(1) * 2, 0.1, seed=1)


def test_the_losses_are_weighed_as_in_training() -> None:
    assert Score(0.5, 2.0, 0.5).loss(0.5) == 2.25

"""The pool of frozen opponents: draws, seats, ratings; nothing is learned from their plies."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from keisei.config import Settings
from keisei.env import VectorEnv
from keisei.nets.policy import evaluate
from keisei.nets.registry import build
from keisei.ppo import opponents as opponents_module
from keisei.ppo.learner import Learner
from keisei.ppo.opponents import MEMORY, Member, Opponents

from .small_learner import CPU, SMALL, iterate


def opponents(env: VectorEnv, **changed: Any) -> Opponents:
    flags = {f"opponents.{name}": value for name, value in changed.items()}
    settings = Settings.load(None, {"opponents.every": 1, **flags}).opponents
    return Opponents(settings, env, build("resnet", blocks=1, channels=8), torch.float32, 1)


def play_on(env: VectorEnv, pool: Opponents, plies: int) -> None:
    """Play random moves for the learner and the opponents' own moves for them."""
    rng = np.random.default_rng(1)
    for _ in range(plies):
        actions = np.array([rng.choice(legal) for legal in _legal(env)], np.int16)
        pool.play(torch.from_numpy(actions), pool.to_move())
        pool.record_step(env.step(actions))


def _legal(env: VectorEnv) -> list[Any]:
    bits = np.unpackbits(env.mask.view(np.uint8), axis=1, bitorder="little")
    return [np.flatnonzero(row) for row in bits]


def test_only_the_share_meets_opponents_and_only_in_new_games() -> None:
    with VectorEnv(8, max_ply=16, seed=1) as env:
        pool = opponents(env, share=0.5)
        pool.refresh(0, 0)
        assert not env.games["opponent"].any(), "running games go on without an opponent"
        play_on(env, pool, 16)
        assert not env.games["opponent"][:4].any()
        assert env.games["opponent"][4:].all()


def test_an_opponent_is_met_from_both_seats_of_one_position() -> None:
    with VectorEnv(2, max_ply=4, seed=1, reset_share=1.0) as env:
        pool = opponents(env, share=0.5)
        pool.refresh(0, 0)
        seats, starts = [], []
        for _ in range(9):
            play_on(env, pool, 4)
            seats.append(int(env.games["opponent"][1]))
            starts.append(env.start_sfen(1))
        for first in range(0, 8, 2):
            assert seats[first + 1] == -seats[first] != 0
            assert starts[first + 1] == starts[first]
        assert len({*starts[::2]}) == 5, "each pair has its own position"


def test_the_opponent_moves_when_its_seat_has_the_turn() -> None:
    with VectorEnv(2, max_ply=64, seed=1) as env:
        pool = opponents(env, share=0.5)
        pool.refresh(0, 0)
        env.seat(1, 1)  # the opponent plays white; black is to move
        assert pool.to_move().tolist() == [False, False]
        play_on(env, pool, 1)
        assert pool.to_move().tolist() == [False, True]


def test_a_network_stays_until_its_last_game_is_over() -> None:
    with VectorEnv(4, max_ply=32, seed=1) as env:
        pool = opponents(env, share=1.0, recent=1, history=0, active=1)
        pool.refresh(0, 0)
        env.seat(0, 1)
        pool.refresh(1, 100)
        pool.refresh(2, 200)
        assert [member["number"] for member in pool.state()["members"]] == [1, 3]
        play_on(env, pool, 32 + 32)  # both games of the pair
        pool.refresh(3, 300)
        assert 1 not in [member["number"] for member in pool.state()["members"]]


def test_after_a_rollback_the_selves_that_went_wrong_are_not_drawn() -> None:
    with VectorEnv(2, max_ply=8, seed=1) as env:
        pool = opponents(env, share=1.0, recent=1, history=2, active=1)
        for iteration in range(3):
            pool.refresh(iteration, 100 * iteration)
        play_on(env, pool, 16)
        assert {abs(number) for number in env.games["opponent"].tolist()} <= {2, 3}
        pool.forget_since(0)  # of the members of steps 0, 100 and 200 the first stays
        play_on(env, pool, 32)
        assert {abs(number) for number in env.games["opponent"].tolist()} <= {0, 1}
        pool.refresh(3, 300)
        play_on(env, pool, 32)
        assert {member["step"] for member in pool.state()["members"]} == {0, 300}
        assert {abs(number) for number in env.games["opponent"].tolist()} <= {1, 4}


def test_a_rolled_back_learner_meets_no_self_from_after_the_checkpoint() -> None:
    flags = {"opponents.share": 0.5, "opponents.every": 1}
    learner = Learner(Settings.load(None, SMALL | flags), CPU, torch.float32)
    iterate(learner)
    tensors, step = learner.tensors(), learner.step
    for _ in range(3):
        iterate(learner)
    learner.roll_back(tensors, step)
    state = learner.state()["opponents"]
    steps = {member["number"]: member["step"] for member in state["members"]}
    assert {steps[number] for number in state["recent"]} == {0, step}


def test_history_keeps_those_that_still_win() -> None:
    with VectorEnv(2) as env:
        pool = opponents(env, share=0.5, recent=1, history=1)
        for iteration, score in enumerate((1.0, 0.0)):
            pool.refresh(iteration, iteration)
            for _ in range(30):
                pool._members[iteration + 1].record_game(score)
        pool.refresh(2, 2)
        assert pool.state()["recent"] == [3]
        assert pool.state()["history"] == [2], "the one that always loses is dropped"


def test_a_game_is_scored_for_the_learner_from_either_seat() -> None:
    with VectorEnv(2, max_ply=16, seed=1) as env:
        pool = opponents(env, share=0.5, recent=1, active=1)
        pool.refresh(0, 0)
        play_on(env, pool, 16)  # now the last game has an opponent
        learner_is = int(np.sign(env.games["opponent"][1]))  # positive: the learner is black
        nobody = env.step(np.array([legal[0] for legal in _legal(env)], np.int16))
        (member,) = pool._members.values()
        for winner, score in ((learner_is, 1), (-learner_is, 0), (0, 0.5)):
            member.games = member.score = 0
            ended = np.array([False, True])
            won = np.array([0, winner], np.int8)
            pool.record_step(replace(nobody, terminated=ended, winner=won))
            assert (member.games, member.score) == (1, score)


def test_half_the_opponents_are_the_newest_the_others_are_drawn_by_the_square_of_their_wins() -> (
    None
):
    with VectorEnv(2) as env:
        pool = opponents(env, share=0.5, recent=1, history=2)
        for iteration, score in enumerate((0.2, 0.6, 0.5)):
            pool.refresh(iteration, iteration)
            for _ in range(20 * MEMORY):
                pool._members[iteration + 1].record_game(score)
        drawn = np.bincount([pool._draw() for _ in range(4000)], minlength=4)[1:] / 4000
        one, two = (pool._members[number].loss_rate ** 2 for number in (1, 2))
        assert one > 3 * two
        history = 0.5 / (one + two)
        assert drawn == pytest.approx([history * one, history * two, 0.5], abs=0.03)


def test_a_frozen_network_answers_all_its_games_in_one_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []

    def counting(net: Any, observation: torch.Tensor, dtype: torch.dtype) -> Any:
        sizes.append(len(observation))
        return evaluate(net, observation, dtype)

    monkeypatch.setattr(opponents_module, "evaluate", counting)
    with VectorEnv(16, max_ply=16, seed=1) as env:
        pool = opponents(env, share=1.0, active=2)
        pool.refresh(0, 0)
        pool.refresh(1, 1)
        for row in range(16):
            env.seat(row, 1 + row % 2 if row < 10 else -1)
        frozen = pool.to_move()
        pool.play(torch.zeros(16, dtype=torch.int16), frozen)
        assert sorted(sizes) == sorted(
            np.unique(np.abs(env.games["opponent"])[frozen], return_counts=True)[1].tolist()
        )


def test_a_rating_forgets_old_results() -> None:
    member = Member(1, 0)
    assert member.loss_rate == 0.5
    for _ in range(20 * MEMORY):
        member.record_game(0.0)
    for _ in range(20 * MEMORY):
        member.record_game(1.0)
    assert member.games == pytest.approx(MEMORY, rel=0.01)
    assert member.loss_rate < 0.05


POOL = SMALL | {"opponents.share": 0.5, "opponents.every": 2, "opponents.recent": 2}


def test_an_opponents_plies_are_not_learned_from() -> None:
    one = Learner(Settings.load(None, POOL), CPU, torch.float32)
    reports = [iterate(one) for _ in range(8)]
    gained = np.diff([report.step for report in reports])
    assert gained[0] == 16 * 16
    theirs = 16 * 16 / 4  # half of the plies of half of the games
    assert gained[-1] == pytest.approx(16 * 16 - theirs, abs=8)
    assert reports[-1].values["opponents/members"] == 4
    assert reports[-1].values["opponents/plies"] == 16 * 16 - gained[-1]
    assert reports[-1].values["train/ratio_error"] < 1e-5


def test_without_a_share_there_are_no_opponents() -> None:
    one = Learner(Settings.load(None, SMALL | {"opponents.share": 0}), CPU, torch.float32)
    values = iterate(one).values
    assert one.tensors()["pool"] == {}
    assert not any(key.startswith("opponents/") for key in values)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_learner_with_weights_that_are_not_finite_is_not_frozen(number: float) -> None:
    with VectorEnv(4, max_ply=16, seed=1) as env:
        pool = opponents(env, share=0.5)
        weight = next(pool._like.parameters()).detach().view(-1)
        pool.refresh(0, 0)
        before, good = pool.tensors().keys(), weight[0].item()
        weight[0] = number
        pool.refresh(1, 100)
        assert pool.tensors().keys() == before
        assert all(bool(tensor.isfinite().all()) for tensor in pool.tensors().values())
        weight[0] = good
        pool.refresh(2, 200)
        assert len(pool.tensors()) == 2 * len(before)

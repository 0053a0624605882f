"""The learner plays and learns small real games, as for the worker."""

import json
import math
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from keisei.env import VectorEnv
from keisei.evaluation import Match, MatchSpec
from keisei.nets.registry import kinds
from keisei.ppo import learner as learning
from keisei.ppo.detectors import WINDOW, DivergedError
from keisei.ppo.forward import Forward
from keisei.ppo.ranks import ALONE, Ranks
from keisei.ppo.update import ppo_loss
from keisei.shogi import Position
from keisei.shogi.sfen import read_sfen
from keisei.store import RunDirectory, load_checkpoint, save_checkpoint

from .positions import MATE
from .small_learner import CPU, iterate, learner, same, weights


def test_an_iteration_learns_from_every_ply_and_reports_it() -> None:
    one = learner()
    before = [w.clone() for w in weights(one)]
    report = iterate(one)
    assert (report.step, report.iteration) == (16 * 16, 1)
    assert any(not torch.equal(a, b) for a, b in zip(before, weights(one), strict=True))
    values = report.values
    assert values["train/ratio_error"] < 1e-5
    assert values["train/skipped"] == 0
    assert 0.9 < values["train/entropy_ratio"] <= 1.0001
    assert values["train/lr"] == 1e-3
    assert 0 < values["speed/limit_ratio"] <= 1
    shares = sum(v for k, v in values.items() if k.startswith("speed/share_"))
    assert 0 < shares <= 1


def test_a_policy_learns_the_mating_move_that_is_played_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def begin(env: VectorEnv) -> None:
        env._opening[:] = read_sfen(MATE)[0]
        env.start_from([MATE] * len(env))

    monkeypatch.setattr(VectorEnv, "stagger", begin)
    fast = {"ppo.learning_rate": 0.02, "ppo.learning_rate_final": 0.02, "ppo.epochs": 10}
    one = learner(**fast, **{"env.reset_share": 0.0, "env.reset_share_final": 0.0})
    before, _, after = [iterate(one).values for _ in range(3)]
    assert before["train/mates"] == after["train/mates"] == 1
    assert before["train/mate_probability"] < 0.05
    assert after["train/mate_probability"] > 0.5
    assert after["games/checkmate"] == 1
    assert after["train/ratio_error"] == 0


def test_without_the_search_for_mates_no_mate_is_reported() -> None:
    values = iterate(learner(**{"env.mates": 0})).values
    assert values["train/mates"] == 0
    assert math.isnan(values["train/mate_probability"])


def test_bfloat16_keeps_the_ratio_at_one() -> None:
    one = learner(torch.bfloat16)
    for _ in range(3):
        assert iterate(one).values["train/ratio_error"] < 5e-3


def test_a_run_continues_bit_for_bit() -> None:
    pool = {"opponents.share": 0.5, "opponents.every": 2, "opponents.recent": 2}
    first = learner(**pool)
    for _ in range(7):
        iterate(first)
    assert first.env.games["opponent"].any()
    tensors, state = first.tensors(), json.loads(json.dumps(first.state()))
    tensors = {  # a file gives tensors back without their layout in memory
        part: {name: tensor.contiguous() for name, tensor in group.items()}
        for part, group in tensors.items()
    }
    expected = [iterate(first) for _ in range(4)]
    assert any(report.values["train/mates"] for report in expected)

    second = learner(**pool, **{"run.seed": 99})
    iterate(second)
    second.load(tensors, state)
    found = [iterate(second) for _ in range(4)]
    assert same(first, second)
    for a, b in zip(expected, found, strict=True):
        assert (a.step, a.iteration, a.games) == (b.step, b.iteration, b.games)
        for key in a.values:
            if not key.startswith("speed/"):
                assert a.values[key] == pytest.approx(b.values[key], abs=0, nan_ok=True), key
    assert json.dumps(first.state()) == json.dumps(second.state())  # NaN equals NaN as text
    shown = first.board()
    assert shown is not None
    assert shown == second.board()


def test_after_a_rollback_only_games_since_then_are_counted() -> None:
    one = learner()
    taken, step = one.tensors(), one.step
    counted = [iterate(one).values["games/ended"] for _ in range(6)]
    one.roll_back(taken, step)
    assert iterate(one).values["games/ended"] < counted[-1] / 2


def test_after_a_rollback_the_detectors_start_anew() -> None:
    one = learner()
    taken, step = one.tensors(), one.step
    iterate(one)
    assert one.state()["quiet"]
    one.roll_back(taken, step)
    assert not one.state()["quiet"], "the weights are not yet proven good"
    for _ in range(WINDOW):
        iterate(one)
    assert one.state()["quiet"]


def test_only_its_own_generators_are_used() -> None:
    """The global generators of torch and numpy do not matter, nor do the draws of an agent."""
    first, second = learner(), learner()
    torch.manual_seed(1)
    iterate(first)
    iterate(first)
    torch.manual_seed(2)
    iterate(second)
    np.random.seed(2)  # noqa: NPY002
    second.agent.choose(second.env.observation, second.env.mask)
    assert second.board() is not None
    second.warm_up()
    expected = torch.random.get_rng_state()
    iterate(second)
    assert same(first, second)
    assert torch.equal(torch.random.get_rng_state(), expected)


def test_warming_up_does_not_affect_learning() -> None:
    first, second = learner(), learner()
    second.warm_up()
    assert json.dumps(first.state()) == json.dumps(second.state())  # NaN equals NaN as text
    assert same(first, second)
    iterate(first), iterate(second)
    assert same(first, second)


def test_several_ranks_take_the_same_turns_however_slow_one_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise one rank waits for an order while the other waits for its sums, for ever."""

    class TwoRanks(Ranks):
        size = 2

    def turns(ranks: Ranks, seconds: float) -> int:
        monkeypatch.setattr(learning, "TURN_SECONDS", seconds)
        one = learning.Learner(learner().settings, CPU, torch.float32, ranks)
        with closing(one.env):
            return len(list(one.iterate()))

    assert turns(TwoRanks(), 0) == turns(TwoRanks(), 100)
    assert turns(ALONE, 0) > turns(ALONE, 100), "a process that trains alone reacts soon"


def test_a_turn_leaves_the_callers_gradient_mode_alone() -> None:
    one = learner()
    turns = one.iterate()
    for _ in range(4):
        next(turns)
        assert torch.is_grad_enabled()
    turns.close()
    assert one.step == 0
    assert iterate(one).step == 256


def test_plies_of_a_frozen_opponent_are_neither_counted_nor_learned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The frozen network plays white in four games and black in three."""
    flags = {"env.max_ply": 500, "env.reset_share": 0.0, "ppo.minibatch": 256}
    one = learner(
        **flags, **{"opponents.share": 0.01}
    )  # a share of 0.01 of 16 games is none, but there is a pool
    games = one.env.games
    games["opponent"][:4], games["opponent"][4:7] = 1, -1
    white = (games["side"] + np.arange(16)[:, None]) % 2 == 1  # [plies, games]; none ends here
    frozen = np.where(games["opponent"] > 0, white, (games["opponent"] < 0) & ~white)
    seen = []

    def watched(*arguments: Any) -> Any:
        seen.append(arguments[:2])
        for logits in seen[-1]:
            logits.retain_grad()
        return ppo_loss(*arguments)

    monkeypatch.setattr(learning, "ppo_loss", watched)
    monkeypatch.setattr(one, "_shuffle", lambda learned: (learned,))
    assert iterate(one).step == 16 * 16 - 7 * 8
    assert len(seen) == 2
    for policy, outcome in seen:
        assert len(outcome) == len(policy) == (~frozen).sum()
        assert outcome.grad.any(1).all()
    np.testing.assert_array_equal(one._collector.learned(), np.flatnonzero(~frozen))


@pytest.mark.parametrize("compile", [False, True])
def test_a_rollout_of_opponents_plies_alone_teaches_nothing(
    monkeypatch: pytest.MonkeyPatch, compile: bool
) -> None:
    """One game of one ply, which the frozen opponent plays."""
    monkeypatch.setattr(torch, "compile", lambda net, **_: net)
    flags = {"env.games": 1, "ppo.rollout_plies": 1, "ppo.weight_decay": 0.0}
    one = learner(**flags, **{"opponents.share": 1.0, "env.reset_share": 0.0})
    monkeypatch.setattr(Forward, "compiled", compile)
    one._opponents.refresh(0, 0)
    black = one.env.games["side"][0] == 0
    one.env.games["opponent"] = -1 if black else 1
    before = [w.clone() for w in weights(one)]
    report = iterate(one)
    assert (report.step, report.iteration) == (0, 1)
    assert report.values["opponents/plies"] == 1
    assert report.values["train/skipped"] == 0
    assert all(torch.equal(a, b) for a, b in zip(before, weights(one), strict=True))


def test_the_gradient_is_clipped() -> None:
    one = learner(**{"ppo.grad_clip": 0.01})
    assert iterate(one).values["train/grad_norm"] > 0.02
    left = torch.stack([p.grad.norm() for p in one.net.parameters()]).norm()
    assert left == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("minibatch", [64, 512])
def test_a_compiled_network_plays_and_learns(
    monkeypatch: pytest.MonkeyPatch, minibatch: int
) -> None:
    """All passes use the compiled network, in no other than its two shapes."""
    passes: list[tuple[int, bool]] = []

    def identity(net: torch.nn.Module, *, dynamic: bool, mode: str | None) -> Any:
        assert not dynamic
        assert mode is None, "no graphs on a CPU"

        def forward(planes: torch.Tensor) -> Any:
            passes.append((len(planes), torch.is_grad_enabled()))
            return net(planes)

        return forward

    monkeypatch.setattr(torch, "compile", identity)
    one = learner(**{"compute.compile": True, "ppo.minibatch": minibatch})
    one.warm_up()
    assert set(passes) == {(16, False), (minibatch, True)}
    passes.clear()
    iterate(one)
    assert set(passes) == {(16, False), (minibatch, True)}
    assert passes.count((16, False)) >= 17  # every ply, and the edge of the rollout
    assert passes.count((minibatch, True)) == 2 * max(1, 16 * 16 // minibatch)
    if minibatch == 64:
        plain = learner(**{"ppo.minibatch": 64})
        iterate(plain)
        assert same(one, plain)


def test_the_board_shows_the_position_that_the_network_saw_last() -> None:
    one = learner(**{"ppo.rollout_plies": 1})
    assert one.board() is None  # the network has not answered yet
    shown, before = 0, None
    for count in range(200):
        number, sfen = one.env.game_number[0], one.env.sfen(0)
        ply = one.env.games["ply"][0]
        (top,), (value,) = one.agent.top_and_values(one.env.observation[:1], one.env.mask[:1])
        iterate(one)
        if one.env.game_number[0] != number:
            assert one.board() is None  # that game is over
            before = None
            continue
        if count % 3 == 0:  # the board must catch up with several moves
            board = one.board()
            assert board is not None
            position = Position(board["sfen"])
            assert (board["game"], board["ply"]) == (number, ply)
            assert board["sfen"].split()[:3] == sfen.split()[:3]
            assert board["value"] == pytest.approx(value, abs=1e-5)
            expected = {position.usi(action): chance for action, chance in top}
            assert dict(board["top_moves"]) == pytest.approx(expected, abs=1e-5)
            assert len(board["top_moves"]) == min(5, len(position.legal_moves()))
            if before is not None:
                moved = Position(before)
                moved.push(board["last_move"])
                assert moved.sfen().split()[:3] == sfen.split()[:3]
                shown += 1
        before = sfen
    assert shown > 40


@pytest.mark.parametrize("name", ["outcome.bias", "heads.bias"])
def test_a_loss_that_is_not_finite_is_skipped_and_counted_and_finally_ends_training(
    name: str,
) -> None:
    one = learner()
    iterate(one)
    before = [w.clone() for w in weights(one)]
    bias = one.net.get_parameter(name)
    healthy = bias.detach().clone()
    with torch.no_grad():
        bias.fill_(float("nan"))
    report = iterate(one)  # 2 epochs of 3 minibatches; games go on with arbitrary moves
    assert report.values["train/skipped"] == 6
    assert "nonfinite" in {alert.name for alert in report.alerts}
    with pytest.raises(DivergedError, match="12 minibatches in a row"):
        iterate(one)
    with torch.no_grad():
        bias.copy_(healthy)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(one), strict=True))


@pytest.mark.parametrize("kind", kinds())
def test_every_network_trains_saves_loads_and_plays(kind: str, tmp_path: Path) -> None:
    first = learner(**{"net.kind": kind})
    report = iterate(first)
    assert report.values["train/ratio_error"] < 1e-4
    assert report.values["train/skipped"] == 0
    second = learner(**{"net.kind": kind, "run.seed": 99})
    with closing(RunDirectory.create(first.settings, tmp_path / "run")) as run:
        saved = save_checkpoint(run, first.step, first.tensors(), first.state())
    checkpoint = load_checkpoint(saved)
    second.load(checkpoint.tensors, checkpoint.state)
    iterate(first), iterate(second)
    assert same(first, second)
    match = Match(MatchSpec("random", games=2, seed=1, max_ply=32))
    while (wanted := match.request()) is not None:
        match.answer(*second.agent.choose(wanted.observation, wanted.mask, draw=wanted.draw))
    assert match.result().games == 2


def next_board(one: learning.Learner) -> dict[str, Any]:
    for _ in range(10):
        iterate(one)
        if board := one.board():
            return board
    raise AssertionError("no board for ten plies")


@pytest.mark.parametrize("wanted", ["longest", "newest", "number"])
def test_the_board_shows_the_game_that_was_chosen(wanted: Any) -> None:
    one = learner(**{"ppo.rollout_plies": 1})
    for _ in range(30):
        iterate(one)
    slot = {
        "longest": int(one.env.games["ply"].argmax()),
        "newest": int(one.env.game_number.argmax()),
        "number": 7,
    }[wanted]
    number = int(one.env.game_number[slot])
    assert one.show(number if wanted == "number" else wanted) == number
    assert one.board() is None  # the network has not answered for this game yet
    board = next_board(one)
    assert board["game"] == one.env.game_number[slot]
    for _ in range(60):  # also after this game, which the ply limit ends
        seen, mask = one.env.observation[slot, None], one.env.mask[slot, None]
        (top,), (value,) = one.agent.top_and_values(seen, mask)
        sfen, number = one.env.sfen(slot), int(one.env.game_number[slot])
        iterate(one)
        if (board := one.board() or {}) and board["game"] == number:
            assert board["sfen"].split()[:3] == sfen.split()[:3]
            assert board["value"] == pytest.approx(value, abs=1e-5)
            position = Position(sfen)
            assert {usi for usi, _ in board["top_moves"]} == {position.usi(a) for a, _ in top}


def test_a_game_that_is_not_in_progress_cannot_be_shown() -> None:
    one = learner()
    before = one.board()
    with pytest.raises(LookupError, match="game 12345 is not in progress"):
        one.show(12345)
    assert one.board() == before


def test_training_and_its_checkpoint_do_not_depend_on_the_game_on_the_board() -> None:
    one, two = learner(), learner()
    for _ in range(3):
        two.show("newest")
        two.board()
        iterate(one)
        iterate(two)
        two.board()
    assert same(one, two)
    states = [{**item.state(), "detectors": None} for item in (one, two)]  # these measure times
    assert states[0] == states[1]
    for group, tensors in one.tensors().items():
        assert all(torch.equal(tensor, two.tensors()[group][k]) for k, tensor in tensors.items())

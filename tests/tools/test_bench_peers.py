"""tools/bench_peers: the cshogi programs that Keisei is compared with do the same work."""

import json
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from cshogi.dlshogi import make_move_label
from numpy.typing import NDArray

from keisei.config import Env, Settings
from keisei.env import VectorEnv
from keisei.nets.planes import expand
from keisei.nets.policy import evaluate, legal_columns, outcome_value
from keisei.ppo.gae import negamax_gae, outcome_targets
from keisei.ppo.update import Batch, ppo_loss, scale_advantages
from keisei.shogi import Position

PEERS = Path(__file__).parents[2] / "tools" / "bench_peers"
GOLDEN = Path(__file__).parents[1] / "golden" / "shogi_cases.jsonl"
SMALL = {
    "env.games": 8, "env.max_ply": 40, "env.reset_pool": 16, "ppo.rollout_plies": 6,
    "ppo.minibatch": 16, "net.blocks": 1, "net.channels": 8,
}  # fmt: skip


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module of the plain PPO loop."""
    monkeypatch.syspath_prepend(str(PEERS))
    import ppo_cleanrl  # type: ignore[import-not-found, unused-ignore]

    module: ModuleType = ppo_cleanrl
    return module


def compare(name: str, *flags: str) -> dict[str, Any]:
    command = [sys.executable, str(PEERS), name, "--json", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_the_cshogi_environment_has_the_same_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PEERS))
    import env_cshogi  # type: ignore[import-not-found, unused-ignore]

    game, env = env_cshogi.Game(), VectorEnv(1, max_ply=300, declaration="none", reset_pool=0)
    flags, mask = np.zeros(env_cshogi.ACTIONS, np.uint8), np.zeros(280, np.uint8)
    chooser = random.Random(5)
    for _ in range(200):
        env_cshogi.fill_mask(game, flags, mask)
        assert np.array_equal(mask.view(np.uint64), env.mask[0])
        move = chooser.choice(game.moves)
        action = make_move_label(move, game.board.turn)
        game.board.push(move)
        game.moves = list(game.board.legal_moves)
        if not game.moves:
            break
        env.step(np.array([action]))


def test_the_env_comparison_reports_both_environments() -> None:
    report = compare("env", "--rounds", "1", "--steps", "4096", "--seconds", "0.1")
    assert report["ratio"] == pytest.approx(report["keisei"] / report["cshogi"])
    assert report["ratio"] > 1


def same_view(envs: Any, env: VectorEnv) -> None:
    """Assert that planes and legal moves of both are equal."""
    legal = np.unpackbits(env.mask.view(np.uint8), axis=1, bitorder="little")[:, : 27 * 81]
    assert np.array_equal(envs.legal, legal.astype(bool))
    same_planes(envs.planes, env.observation)


def same_planes(planes: NDArray[np.float32], observation: NDArray[np.uint8]) -> None:
    """Assert that all planes but the attacks are equal.

    Those differ because only ours consider pins and lines through a king.
    """
    ours = expand(torch.from_numpy(observation)).numpy()
    assert planes.shape == ours.shape
    np.testing.assert_allclose(planes[:, :45], ours[:, :45], atol=1e-6)
    if len(planes):
        assert (planes[:, 45:] == ours[:, 45:]).mean() > 0.85


def test_plain_games_run_like_ours(plain: ModuleType) -> None:
    games, max_ply = 8, 150
    envs = plain.Envs(Env(games=games, max_ply=max_ply, reset_share=0), [], seed=0)
    env = VectorEnv(games, max_ply=max_ply, reset_pool=0)
    chooser = np.random.default_rng(3)
    for _ in range(2 * max_ply + 1):
        same_view(envs, env)
        actions = [int(chooser.choice(np.flatnonzero(row))) for row in envs.legal]
        step = env.step(np.array(actions))
        reward, terminated, truncated, finals = envs.step(actions)
        assert np.array_equal(reward, step.reward)
        assert np.array_equal(terminated, step.terminated)
        assert np.array_equal(truncated, step.truncated)
        same_planes(finals, step.final_observation[truncated])


def test_plain_games_end_like_ours(plain: ModuleType) -> None:
    """The cases end by repetition, perpetual check, declaration and mate."""
    cases = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
    for case in cases:
        if case["kind"] == "perft":
            continue
        for rule in ("none", "24", "27"):
            game, position = plain.Game(rule), Position(case["sfen"])
            game.reset(case["sfen"])
            for move in case["moves"]:
                position.push(move)
                game.push(game.board.move_from_usi(move))
            outcome = position.outcome(rule)
            expected = outcome and {None: 0, position.side: 1}.get(outcome.winner, -1)
            assert game.result() == expected, (case["name"], rule)


@pytest.fixture
def rollout(plain: ModuleType) -> Any:
    """Return a plain loop after two rollouts, and its outcome estimates of the next positions."""
    settings = Settings.load(overrides=SMALL)
    # Games have at most 16 plies, so the second rollout truncates some.
    envs = plain.Envs(Env(games=8, max_ply=16, reset_share=0), [], seed=0)
    envs.stagger()
    learner = plain.PPO(settings, envs, torch.device("cpu"))
    learner.rollout()
    following = learner.rollout()
    assert learner.truncated.any()
    return learner, following


def test_plain_advantages_and_targets_equal_ours(rollout: Any) -> None:
    learner, following = rollout
    generator = torch.Generator().manual_seed(1)
    learner.terminated = (torch.rand(6, 8, generator=generator) < 0.2) & ~learner.truncated
    signs = torch.randint(-1, 2, (6, 8), generator=generator)
    learner.reward = torch.where(learner.terminated, signs, 0).float()
    ends = learner.reward, learner.terminated, learner.truncated
    batch = learner.prepare(following)
    gamma, lam = learner.ppo.gamma, learner.ppo.gae_lambda
    values = outcome_value(learner.outcome), outcome_value(following)
    advantage = scale_advantages(negamax_gae(*ends, *values, gamma, lam), torch.ones(6, 8))
    torch.testing.assert_close(batch.advantage, advantage.flatten())
    target = outcome_targets(*ends, following, gamma, lam)
    torch.testing.assert_close(batch.target, target.flatten(0, 1))


def test_plain_loss_and_gradient_equal_ours(plain: ModuleType) -> None:
    """Both are computed on the same positions."""
    settings = Settings.load(overrides=SMALL)
    env, ppo = VectorEnv(8, seed=2, reset_pool=0), settings.ppo
    env.stagger()
    envs = plain.Envs(settings.env, [], seed=0)
    for game, sfen in zip(envs.games, map(env.sfen, range(8)), strict=True):
        game.reset(sfen)
    learner = plain.PPO(settings, envs, torch.device("cpu"))
    observation, mask = torch.tensor(env.observation), torch.tensor(env.mask.view(np.int64))
    legal = legal_columns(mask)
    advantage, target = torch.linspace(-2, 2, 8), torch.rand(8, 3).softmax(1)
    old = torch.linspace(-6, -3, 8)
    ours = Batch(observation, mask, torch.zeros(8, dtype=torch.int16), old, advantage, target,
                 torch.ones(8), torch.zeros(8, dtype=torch.bool))  # fmt: skip
    policy, outcome = evaluate(learner.net, observation, torch.float32)
    expected = ppo_loss(policy, outcome, legal, ours, ppo.clip, ppo.value_coefficient, ppo.entropy)[
        0
    ]
    unpacked = np.unpackbits(env.mask.view(np.uint8), axis=1, bitorder="little")[:, : 27 * 81]
    theirs = plain.Batch(expand(observation), torch.from_numpy(unpacked.astype(bool)), legal[:, 0],
                         old, advantage, target)  # fmt: skip
    found = plain.ppo_loss(learner.net, theirs, ppo)
    torch.testing.assert_close(found, expected)
    parameters = list(learner.net.parameters())
    gradients = [torch.autograd.grad(loss, parameters) for loss in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_plain_loop_begins_with_ratio_one_and_learns(plain: ModuleType, rollout: Any) -> None:
    learner, following = rollout
    batch = learner.prepare(following)
    with torch.no_grad():
        logits = plain.masked(learner.net(batch.planes)[0], batch.legal)
    assert batch.legal.gather(1, batch.action[:, None]).all()
    again = logits.log_softmax(1).gather(1, batch.action[:, None])[:, 0]
    torch.testing.assert_close(again, batch.log_prob)
    before = plain.ppo_loss(learner.net, batch, learner.ppo).item()
    for _ in range(5):
        learner.update(batch)
    assert plain.ppo_loss(learner.net, batch, learner.ppo).item() < before


def test_the_ppo_comparison_reports_both_trainers() -> None:
    flags = [word for key, value in SMALL.items() for word in (f"--{key}", str(value))]
    report = compare("ppo", "--repeats", "2", "--compute.threads", "1", *flags)
    ours, theirs = report["keisei"], report["plain"]
    rates = ours["steps_per_second"], theirs["steps_per_second"]
    assert report["ratio"] == pytest.approx(rates[0] / rates[1])
    assert report["plies"] == 48
    for side in (ours, theirs):
        assert side["limit_ratio"] == pytest.approx(side["steps_per_second"] / side["limit"])
        assert all(side["phases"][name] > 0 for name in ("env", "inference", "sampling", "update"))
        seconds = report["plies"] / side["steps_per_second"]
        assert sum(side["phases"].values()) == pytest.approx(seconds, rel=0.5)

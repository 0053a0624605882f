"""A plain self-play PPO in the manner of CleanRL: one file, one loop, float32.

The boards are cshogi's (GPL; used here for comparison only), moved in a Python loop. Planes,
inference and updates are batched. Network, batch, losses and rules are Keisei's, so that the two
can be compared. Keisei's other work (material hint, statistics, detectors, records of games) is
left out.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from cshogi import LAW_24, LAW_27, Board
from cshogi.dlshogi import FEATURES1_NUM, FEATURES2_NUM, make_input_features, make_move_label
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from keisei import config
from keisei.nets.registry import build
from keisei.ppo.clock import Clock

ACTIONS = 27 * 81
START = "lnsgkgsnl/1r5b1/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL b - 1"

# --- The environment ------------------------------------------------------------------------------

# The planes taken from dlshogi's, which are 31 a side: the pieces of both sides, the squares that
# the opponent attacks, and the squares that the mover attacks once and twice. Keisei's planes leave
# out attacks by pinned pieces and by the mover's king; the shapes are equal.
PIECES, SIDE = range(14), 31
SHOWN = [*PIECES, *(SIDE + piece for piece in PIECES), SIDE + 28, 28, 29]
PLANES = len(SHOWN) + 14 + 3
_HAND_SCALE = np.array([9, 4, 4, 4, 4, 2, 2], np.float32)
_RULES = {"none": None, "24": LAW_24, "27": LAW_27}
_labels = np.full((2, 1 << 16), -1, np.int16)
"""Action of a move, by side and the lower 16 bits of cshogi's move; -1: not seen yet."""


class Game:
    """A board, its legal moves with their actions, and the state that repetition needs."""

    def __init__(self, declaration: str) -> None:
        self.board = Board()
        self.rule = _RULES[declaration]
        self.reset(START)

    def reset(self, sfen: str) -> None:
        """Begin a game at a position."""
        self.board.set_sfen(sfen)
        self.ply = 0
        self.checks = [0, 0]
        self.seen: dict[int, list[int]] = {}
        self._scan()

    def push(self, move: int) -> None:
        """Make a legal move."""
        mover = self.board.turn
        self.board.push(move)
        self.ply += 1
        self._scan()
        self.checks[mover] = self.checks[mover] + 1 if self.in_check else 0

    def _scan(self) -> None:
        board = self.board
        self.in_check = board.is_check()
        self.occurrences = self.seen.setdefault(board.zobrist_hash(), [])
        self.occurrences.append(self.ply)
        self.moves = list(board.legal_moves)
        keys = np.array(self.moves, np.int64) & 0xFFFF
        table = _labels[board.turn]
        self.actions = table[keys]
        if (self.actions < 0).any():
            table[keys] = [make_move_label(move, board.turn) for move in self.moves]
            self.actions = table[keys]

    def result(self) -> int | None:
        """Return +1, 0 or -1 for the side to move if the rules end the game, else None."""
        if len(self.occurrences) == 4:
            moves = (
                self.ply - self.occurrences[0]
            ) // 2  # moves of each side; if all were checks, that side loses
            turn = self.board.turn
            return int(self.checks[1 - turn] >= moves) - int(self.checks[turn] >= moves)
        if self.rule is not None and self.board.is_nyugyoku(self.rule):
            return 1
        return None if self.moves else -1


class Envs:
    """N games that take one move each per call. A game that ends is replaced at once.

    A new game begins at one of ``starts`` with probability ``reset_share``, else at the usual
    start.
    """

    def __init__(self, settings: config.Env, starts: Sequence[str], seed: int) -> None:
        self.games = [Game(settings.declaration) for _ in range(settings.games)]
        self.max_ply, self.reset_share = settings.max_ply, settings.reset_share
        self.starts = starts
        self.random = random.Random(seed)
        self.planes = np.zeros((len(self.games), PLANES, 9, 9), np.float32)
        self._unused = np.empty((FEATURES2_NUM, 9, 9), np.float32)
        self.legal = np.zeros((len(self.games), ACTIONS), np.bool_)
        self._observe()

    def __len__(self) -> int:
        return len(self.games)

    def stagger(self) -> None:
        """Play some random plies in each game, so that they don't end together."""
        for game in self.games:
            for _ in range(self.random.randint(0, self.max_ply // 2)):
                game.push(self.random.choice(game.moves))
                if game.result() is not None:
                    self._reset(game)
        self._observe()

    def step(
        self, actions: Sequence[int]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float32]]:
        """Make one move in each game.

        Returns the movers' rewards, terminated and truncated, each ``[N]``, and the last planes of
        the truncated games.
        """
        count = len(self.games)
        reward = np.zeros(count, np.float32)
        terminated, truncated = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        for g, (game, action) in enumerate(zip(self.games, actions, strict=True)):
            game.push(game.moves[int((game.actions == action).argmax())])
            result = game.result()
            if result is not None:
                reward[g], terminated[g] = -result, True
            else:
                truncated[g] = game.ply >= self.max_ply
        finals = self._draw([self.games[row] for row in np.flatnonzero(truncated)])
        for row in np.flatnonzero(terminated | truncated):
            self._reset(self.games[row])
        self._observe()
        return reward, terminated, truncated, finals

    def _reset(self, game: Game) -> None:
        middle = self.random.random() < self.reset_share
        game.reset(self.random.choice(self.starts) if middle else START)

    def _observe(self) -> None:
        self.planes[:] = self._draw(self.games)
        self.legal[:] = False
        for row, game in zip(self.legal, self.games, strict=True):
            row[game.actions] = True

    def _draw(self, games: list[Game]) -> NDArray[np.float32]:
        """Return input planes ``[M, 48, 9, 9]``, seen by the side to move."""
        planes = np.empty((len(games), PLANES, 9, 9), np.float32)
        if games:
            features = np.empty((len(games), FEATURES1_NUM, 9, 9), np.float32)
            for row, game in zip(features, games, strict=True):
                make_input_features(game.board, row, self._unused)
            hands = np.array([game.board.pieces_in_hand for game in games]) / _HAND_SCALE
            white = np.array([game.board.turn for game in games]) == 1
            hands[white] = hands[white, ::-1]
            rest = np.array([self._rest(game) for game in games])
            planes[:, :28] = features[:, SHOWN[:28]]
            planes[:, 28:42] = hands.reshape(-1, 14, 1, 1)
            planes[:, 42:45] = rest[:, :, None, None]
            planes[:, 45:] = features[:, SHOWN[28:]]
        return planes

    def _rest(self, game: Game) -> tuple[float, float, float]:
        """Return earlier occurrences, check and ply, each scaled to 0..1."""
        ply = min(game.ply * 255 // self.max_ply, 255) / 255
        return (len(game.occurrences) - 1) / 3, float(game.in_check), ply


# --- The algorithm --------------------------------------------------------------------------------


class Batch(NamedTuple):
    """Plies to learn from, one row each."""

    planes: Tensor
    legal: Tensor
    action: Tensor
    log_prob: Tensor
    advantage: Tensor
    target: Tensor


def masked(policy: Tensor, legal: Tensor) -> Tensor:
    """Return the logits, with those of illegal actions at -1e8."""
    return torch.where(legal, policy, -1e8)


def ppo_loss(net: nn.Module, batch: Batch, ppo: config.PPO) -> Tensor:
    """Return the loss: clipped surrogate, cross-entropy of the outcome, entropy bonus."""
    policy, outcome = net(batch.planes)
    logits = masked(policy, batch.legal)
    log_probs = logits.log_softmax(1)
    entropy = -(log_probs * logits.softmax(1)).sum(1)
    log_prob = log_probs.gather(1, batch.action[:, None])[:, 0]
    ratio = (log_prob - batch.log_prob).exp()
    clipped = ratio.clamp(1 - ppo.clip, 1 + ppo.clip)
    policy_loss = -torch.min(ratio * batch.advantage, clipped * batch.advantage).mean()
    value_loss = F.cross_entropy(outcome, batch.target)
    return policy_loss + ppo.value_coefficient * value_loss - ppo.entropy * entropy.mean()


def learn(
    net: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, ppo: config.PPO
) -> Tensor:
    """Make one step of the optimiser. Return the loss."""
    optimizer.zero_grad()
    loss = ppo_loss(net, batch, ppo)
    loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
    nn.utils.clip_grad_norm_(net.parameters(), ppo.grad_clip)
    optimizer.step()
    return loss.detach()


def make_optimizer(net: nn.Module, ppo: config.PPO) -> torch.optim.Optimizer:
    """Return AdamW; its learning rate stays at the first one."""
    return torch.optim.AdamW(net.parameters(), ppo.learning_rate, weight_decay=ppo.weight_decay)


class PPO:
    """The training loop: rollout, advantages, update."""

    def __init__(self, settings: config.Settings, envs: Envs, device: torch.device) -> None:
        net, ppo = settings.net, settings.ppo
        self.ppo, self.envs, self.device = ppo, envs, device
        self.clock = Clock()
        self.loss = 0.0
        """Loss of the last minibatch."""
        self.net = build(
            net.kind, blocks=net.blocks, channels=net.channels, seed=settings.run.seed
        ).to(device)
        self.optimizer = make_optimizer(self.net, ppo)
        shape = ppo.rollout_plies, len(envs)
        self.planes = torch.zeros(*shape, PLANES, 9, 9, device=device)
        self.legal = torch.zeros(*shape, ACTIONS, dtype=torch.bool, device=device)
        self.action = torch.zeros(shape, dtype=torch.int64, device=device)
        self.log_prob = torch.zeros(shape, device=device)
        self.outcome = torch.zeros(*shape, 3, device=device)
        self.reward = torch.zeros(shape, device=device)
        self.terminated = torch.zeros(shape, dtype=torch.bool, device=device)
        self.truncated = torch.zeros(shape, dtype=torch.bool, device=device)

    def iterate(self) -> None:
        """Run one iteration."""
        self.clock.reset()
        following = self.rollout()
        with self.clock.phase("gae"):
            batch = self.prepare(following)
        with self.clock.phase("update"):
            self.loss = self.update(batch)

    @torch.no_grad()
    def rollout(self) -> Tensor:
        """Play T plies in every game. Return outcome probabilities of what follows, [T, N, 3]."""
        finals = []
        for t in range(len(self.reward)):
            with self.clock.phase("env"):
                self.planes[t] = torch.from_numpy(self.envs.planes)
                self.legal[t] = torch.from_numpy(self.envs.legal)
            with self.clock.phase("inference"):
                policy, outcome = self.net(self.planes[t])
            with self.clock.phase("sampling"):
                logits = masked(policy, self.legal[t])
                action = torch.multinomial(logits.softmax(1), 1)
                self.action[t] = action[:, 0]
                self.log_prob[t] = logits.log_softmax(1).gather(1, action)[:, 0]
                self.outcome[t] = outcome.softmax(1)
                played = action[:, 0].tolist()
            with self.clock.phase("env"):
                reward, terminated, truncated, cut = self.envs.step(played)
                self.reward[t] = torch.from_numpy(reward)
                self.terminated[t] = torch.from_numpy(terminated)
                self.truncated[t] = torch.from_numpy(truncated)
                finals.append(cut)
        with self.clock.phase("inference"):
            following = torch.cat((self.outcome[1:], self.judge(self.envs.planes)[None]))
            if any(map(len, finals)):
                following[self.truncated] = self.judge(np.concatenate(finals))
        return following

    def judge(self, planes: NDArray[np.float32]) -> Tensor:
        """Return outcome probabilities ``[M, 3]``."""
        outcome: Tensor = self.net(torch.from_numpy(planes).to(self.device))[1]
        return outcome.softmax(1)

    @torch.no_grad()
    def prepare(self, following: Tensor) -> Batch:
        """Compute advantages and targets (the opponent moves next); return one batch."""
        gamma, lam = self.ppo.gamma, self.ppo.gae_lambda
        value = self.outcome[..., 0] - self.outcome[..., 2]
        next_value = following[..., 0] - following[..., 2]
        goes_on = (~self.terminated).float()
        joined = (~(self.terminated | self.truncated)).float()
        result = F.one_hot((1 - self.reward).long(), 3).float()  # win, draw, loss
        draw = torch.tensor([0.0, 1.0, 0.0], device=self.device)
        advantage, target = torch.zeros_like(value), torch.zeros_like(self.outcome)
        later_advantage, later_target = torch.zeros_like(value[0]), following[-1]
        for t in reversed(range(len(value))):
            delta = self.reward[t] - gamma * goes_on[t] * next_value[t] - value[t]
            later_advantage = delta - gamma * lam * joined[t] * later_advantage
            advantage[t] = later_advantage
            keep = lam * joined[t][:, None]
            mixed = (1 - keep) * following[t] + keep * later_target
            seen = (gamma * mixed + (1 - gamma) * draw).flip(1)  # seen by the other side
            later_target = torch.where(self.terminated[t][:, None], result[t], seen)
            target[t] = later_target
        scale = advantage.square().mean().sqrt().clamp(min=1e-3)
        columns = self.planes, self.legal, self.action, self.log_prob, advantage / scale, target
        return Batch(*(column.flatten(0, 1) for column in columns))

    def update(self, batch: Batch) -> float:
        """Run all epochs. Return the loss of the last minibatch."""
        loss = torch.zeros(())
        for _ in range(self.ppo.epochs):
            order = torch.randperm(len(batch.action), device=self.device)
            for index in order.split(self.ppo.minibatch):
                part = Batch(*(column[index] for column in batch))
                loss = learn(self.net, self.optimizer, part, self.ppo)
        return loss.item()

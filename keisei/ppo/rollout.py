"""Plays a fixed number of plies in every game and stores these plies for the update."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from keisei.env import MASK_WORDS, OBSERVATION_BYTES, Reason, StepResult, VectorEnv
from keisei.nets.policy import (
    evaluate,
    legal_columns,
    legal_logits,
    most_probable,
    outcome_value,
    sample,
)
from keisei.ppo.clock import Clock
from keisei.ppo.forward import Forward
from keisei.ppo.material import material_balance
from keisei.ppo.opponents import Opponents


@dataclass(frozen=True, slots=True)
class Rollout:
    """T plies in each of N games, from the point of view of the side to move."""

    observation: Tensor
    """uint8[T, N, 131] Compact observations."""
    mask: Tensor
    """int64[T, N, 35] Legal actions as packed bits."""
    choice: Tensor
    """int16[T, N] Column of the chosen action in the result of ``legal_columns``."""
    log_prob: Tensor
    """float32[T, N] Log-probability of the chosen action."""
    outcome: Tensor
    """float32[T + 1, N, 3] Probabilities of win, draw and loss that the network predicted.

    The last row is for the positions after the last ply of the rollout."""
    reward: Tensor
    """float32[T, N] Reward of the side that made the move."""
    terminated: Tensor
    """bool[T, N] Whether the rules ended the game after the move."""
    truncated: Tensor
    """bool[T, N] Whether the game was cut after the move because of the maximum ply."""
    weight: Tensor
    """float32[T, N] 1 for plies of the learner, 0 for plies of a frozen opponent."""
    proven: Tensor
    """bool[T + 1, N] Whether the side to move has a proven mate (setting ``env.mates``).

    The collector plays the mating move on such a ply. The last row is for the positions after the
    last ply of the rollout."""
    material: Tensor
    """float32[T + 1, N] Material balance of the positions for which ``outcome`` is predicted."""
    cut: tuple[Tensor, Tensor]
    """Two ``int64[K]``: ply index and game index of each of the K moves that led to a cut."""
    cut_outcome: Tensor
    """float32[K, 3] Probabilities of win, draw and loss in the K cut games' last positions."""
    cut_material: Tensor
    """float32[K] Material balance of the K cut games' last positions."""

    def following(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return facts about the position after each move.

        The facts are: the outcome ``[T, N, 3]``, the material ``[T, N]``, and whether the side to
        move has a proven mate, ``bool[T, N]``. With a proven mate, the outcome is a certain win,
        and the material is 0.

        If a game was cut after a move, the position after the move is the cut game's last position,
        not the next game's first position. The environment searches no mate in a cut game's last
        position. If the rules ended a game after a move, the facts for this move have no meaning.
        """
        outcome, material = self.outcome[1:].clone(), self.material[1:].clone()
        outcome[self.cut], material[self.cut] = self.cut_outcome, self.cut_material
        proven = self.proven[1:] & ~self.truncated
        return certain_win(outcome, proven), material.masked_fill(proven, 0), proven

    @property
    def bytes_per_ply(self) -> float:
        """Bytes of device memory that one stored ply of one game needs."""
        stored = (getattr(self, field.name) for field in fields(self))
        tensors = [tensor for tensor in stored if isinstance(tensor, Tensor)]
        return sum(tensor.nbytes for tensor in tensors) / self.reward.numel()


def certain_win(outcome: Tensor, proven: Tensor) -> Tensor:
    """Return ``outcome[..., 3]`` with a win of probability 1 in each row where ``proven`` is True.

    ``proven[...]`` is boolean.
    """
    return torch.where(proven[..., None], outcome.new_tensor((1.0, 0.0, 0.0)), outcome)


class Collector:
    """Fills the buffers of a rollout ply by ply. All rollouts use the same buffers."""

    def __init__(
        self,
        env: VectorEnv,
        net: Forward,
        plies: int,
        declaration_reward: float,
        device: torch.device,
        dtype: torch.dtype,
        generator: torch.Generator,
        opponents: Opponents,
        clock: Clock,
    ) -> None:
        """``declaration_reward`` is the reward for a win by declaration. Other wins give 1."""
        self._declaration_reward = declaration_reward
        self._env, self._net, self._opponents = env, net, opponents
        self._device, self._dtype = device, dtype
        self._generator, self._clock = generator, clock
        shape = plies, len(env)
        self._observation = torch.zeros(*shape, OBSERVATION_BYTES, dtype=torch.uint8, device=device)
        self._mask = torch.zeros(*shape, MASK_WORDS, dtype=torch.int64, device=device)
        self._choice = torch.zeros(shape, dtype=torch.int16, device=device)
        self._log_prob = torch.zeros(shape, device=device)
        self._outcome = torch.zeros(plies + 1, len(env), 3, device=device)  # logits
        self._proven = torch.zeros(plies + 1, len(env), dtype=torch.bool, device=device)
        self._reward = np.zeros(shape, np.float32)
        self._terminated = np.zeros(shape, np.bool_)
        self._truncated = np.zeros(shape, np.bool_)
        self._weight = np.zeros(shape, np.float32)
        self._finals: list[tuple[int, NDArray[np.intp], NDArray[np.uint8]]] = []
        self.newest: tuple[Tensor, Tensor, Tensor] | None = None
        """Tensors before the newest move of the game that ``show`` chose: legal actions, action
        logits, outcome logits.

        Each tensor has one row. The value is None before the first ply. After ``show``, the value
        is None until the next ply.
        """
        self._shown = slice(0, 1)

    @torch.no_grad()
    def ply(self, t: int) -> tuple[NDArray[np.int16], StepResult]:
        """Play ply ``t`` of the rollout in every game. Return the actions and their results.

        Where the side to move has a proven mate, the mating move is played, for frozen opponents
        too.
        """
        if t == 0:
            self._finals.clear()
        env, clock = self._env, self._clock
        with clock.phase("inference"):
            observation, mask = self._observation[t], self._mask[t]
            observation.copy_(torch.from_numpy(env.observation), non_blocking=True)
            mask.copy_(torch.from_numpy(env.mask.view(np.int64)), non_blocking=True)
            policy, outcome = evaluate(self._net, observation, self._dtype)
        with clock.phase("sampling"):
            legal = legal_columns(mask)
            draw = torch.rand(len(legal), device=self._device, generator=self._generator)
            logits = legal_logits(policy, legal)
            column, log_prob = self._prefer_mates(t, legal, logits, *sample(logits, draw))
            self._choice[t], self._log_prob[t] = column[:, 0], log_prob[:, 0]
            self._outcome[t] = outcome
            shown = self._shown
            self.newest = legal[shown].clone(), logits[shown].clone(), outcome[shown].clone()
            chosen = legal.gather(1, column)[:, 0]
        with clock.phase("opponents"):
            frozen = self._opponents.to_move()
            self._weight[t] = ~frozen
            if frozen.any():
                self._opponents.play(chosen, frozen)
        with clock.phase("sampling"):  # the only line of a ply that waits for a GPU
            actions = chosen.to("cpu", torch.int16).numpy()
            np.copyto(actions, env.mate, where=env.mate >= 0)  # frozen opponents play mates too
        with clock.phase("env"):
            step = env.step(actions)
            declared = step.reason == Reason.DECLARATION
            self._reward[t] = step.reward * np.where(declared, self._declaration_reward, 1)
            self._terminated[t] = step.terminated
            self._truncated[t] = step.truncated
            cut = np.flatnonzero(step.truncated)
            if len(cut):
                self._finals.append((t, cut, step.final_observation[cut]))
            self._opponents.record_step(step)
        return actions, step

    def _prefer_mates(
        self, t: int, legal: Tensor, logits: Tensor, column: Tensor, log_prob: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Replace the sampled columns ``int64[N, 1]`` by the mating moves where there are any.

        Returns the columns and their log-probabilities. Row ``t`` of ``proven`` is filled.
        """
        mate = self._upload(self._env.mate)[:, None]
        self._proven[t] = mate[:, 0] >= 0
        proven = self._proven[t, :, None]
        mating = (legal == mate).byte().argmax(1, keepdim=True)
        known = logits.log_softmax(1).gather(1, mating)
        return torch.where(proven, mating, column), torch.where(proven, known, log_prob)

    def show(self, slot: int) -> None:
        """Let ``answer`` return the answers for the game in this slot, from the next ply on."""
        self._shown, self.newest = slice(slot, slot + 1), None

    def answer(self) -> tuple[list[tuple[int, float]], float] | None:
        """Return the most probable actions and the value before the newest move.

        ``most_probable`` makes the list of actions. Returns None while ``newest`` is None.
        ``show`` chooses the game; game 0 is chosen at first.
        """
        if self.newest is None:
            return None
        legal, logits, outcome = self.newest
        (top,) = most_probable(legal, logits)
        return top, float(outcome_value(outcome.softmax(1)))

    def learned(self) -> Tensor:
        """Return the indices ``int64[M]`` of the learner's M own plies in the flattened rollout."""
        return self._upload(np.flatnonzero(self._weight))

    @torch.no_grad()
    def finish(self) -> Rollout:
        """Return the rollout. Call this after the last ply of the rollout.

        The next rollout overwrites the tensors of this rollout.
        """
        with self._clock.phase("inference"):
            edge = self._upload(self._env.observation)
            _, self._outcome[-1] = evaluate(self._net, edge, self._dtype)
            self._proven[-1] = self._upload(self._env.mate >= 0)
            plies, games, last = self._cut_positions()
            return Rollout(
                observation=self._observation,
                mask=self._mask,
                choice=self._choice,
                log_prob=self._log_prob,
                outcome=self._outcome.softmax(2),
                reward=self._upload(self._reward),
                terminated=self._upload(self._terminated),
                truncated=self._upload(self._truncated),
                weight=self._upload(self._weight),
                proven=self._proven,
                material=torch.cat(
                    (material_balance(self._observation), material_balance(edge)[None])
                ),
                cut=(plies, games),
                cut_outcome=self._judge(last),
                cut_material=material_balance(last),
            )

    def _cut_positions(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return ply index, game index and last position (``uint8[K, 131]``) of the K cut games."""
        none = 0, np.empty(0, np.intp), np.empty((0, OBSERVATION_BYTES), np.uint8)
        plies, games, last = zip(none, *self._finals, strict=True)
        counts = [len(rows) for rows in games]
        return (
            self._upload(np.repeat(plies, counts)),
            self._upload(np.concatenate(games)),
            self._upload(np.concatenate(last)),
        )

    def _judge(self, observation: Tensor) -> Tensor:
        """Return the outcome probabilities ``[K, 3]`` of K positions.

        Each call of the network gets as many positions as there are games. A compiled network would
        be compiled anew for another number of positions.
        """
        if not len(observation):
            return observation.new_zeros(0, 3, dtype=torch.float32)
        size = len(self._env)
        padded = torch.cat((observation, observation[:1].expand(-len(observation) % size, -1)))
        judged = [evaluate(self._net, part, self._dtype)[1] for part in padded.split(size)]
        return torch.cat(judged)[: len(observation)].softmax(1)

    def _upload(self, array: NDArray[Any]) -> Tensor:
        """Copy the array to the device; return the copy."""
        return torch.tensor(array).to(self._device, non_blocking=True)

"""Plays a share of the games against older, frozen versions of the learner.

A learner that plays only against itself forgets how to beat opponents that it no longer meets. Only
a few frozen networks are active at a time, so that each network gets many positions in one batch.

Each active network is chosen at random: with probability 1/2 from the newest versions, else from
the history. While the history is empty, every choice is made from the newest versions. In the
history, the probability of a network is proportional to the square of the learner's loss rate
against that network. This is prioritised fictitious self-play (Vinyals et al., 2019). A network
that can no longer be chosen is deleted after its last game. The games against opponents come in
pairs: the start position and the opponent stay the same, and the two players swap colours.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from keisei.config import OpponentSettings
from keisei.env import StepResult, VectorEnv
from keisei.nets.policy import evaluate, legal_columns, legal_logits, sample, upload
from keisei.ppo.checkpoint import generator_state, load_generator

MEMORY = 200
"""Number of games after which a game's weight in a member's score has fallen to 1/e (37 %)."""
_NUMBERS = 32_767
"""Highest number of a member; a game stores its opponent's number as int16."""


@dataclass(slots=True)
class Member:
    """A frozen network of the pool, with the learner's results against this network."""

    number: int
    step: int
    """Step at which the member's weights were frozen."""
    games: float = 0.0
    """Sum of the weights of all games against the member. The newest game has the weight 1."""
    score: float = 0.0
    """The learner's points against the member, with the same weights as in ``games``."""

    @property
    def loss_rate(self) -> float:
        """Return 1 minus the learner's mean score in the real games and ten imaginary draws.

        The imaginary draws keep the rate near 1/2 while there are few real games.
        """
        return 1 - (self.score + 5) / (self.games + 10)

    def record_game(self, score: float) -> None:
        """Count a game in which the learner scored 1, 1/2 or 0."""
        fade = 1 - 1 / MEMORY
        self.games = self.games * fade + 1
        self.score = self.score * fade + score


class Opponents:
    """The pool of frozen networks. Games against the pool are in the last rows of ``env``."""

    def __init__(
        self,
        settings: OpponentSettings,
        env: VectorEnv,
        net: nn.Module,
        dtype: torch.dtype,
        seed: int,
    ) -> None:
        self._settings, self._env, self._dtype = settings, env, dtype
        self._like = net
        device = next(net.parameters()).device
        self._sampling = torch.Generator(device).manual_seed(seed)
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._first = len(env) - round(len(env) * settings.share)
        self._members: dict[int, Member] = {}
        self._nets: dict[int, nn.Module] = {}
        self._recent: list[int] = []
        self._history: list[int] = []
        self._active: list[int] = []
        self._taken = 0
        self._met = env.games["opponent"].copy()

    def refresh(self, iteration: int, step: int) -> None:
        """Add a frozen copy of the learner to the pool, and choose the active opponents.

        Call this before each iteration. Nothing happens if ``opponents.share`` is 0, or if
        ``iteration`` is not a multiple of ``opponents.every``. Nothing happens if the learner's
        weights contain NaN or infinity. With such weights in the pool, no checkpoint could be
        saved.
        """
        if not self._settings.share or iteration % self._settings.every or not _finite(self._like):
            return
        self._add_member(step)
        if len(self._recent) > self._settings.recent:
            self._history.append(self._recent.pop(0))
        if len(self._history) > self._settings.history:
            weakest = min(self._history, key=lambda number: self._members[number].loss_rate)
            self._history.remove(weakest)
        self._active = [self._draw() for _ in range(self._settings.active)]
        kept = {*self._recent, *self._history, *self._active, *np.abs(self._env.games["opponent"])}
        for number in self._members.keys() - kept:
            del self._members[number], self._nets[number]

    def forget_since(self, step: int) -> None:
        """Stop choosing members that were frozen after ``step``. Call this after a rollback.

        Games in progress against these members are still played to the end.
        """
        late = {number for number, member in self._members.items() if member.step > step}
        for drawn in (self._recent, self._history, self._active):
            drawn[:] = [number for number in drawn if number not in late]

    def _add_member(self, step: int) -> None:
        self._taken += 1
        number = (self._taken - 1) % _NUMBERS + 1
        self._members[number] = Member(number, step)
        self._nets[number] = copy.deepcopy(self._like).requires_grad_(False)
        self._recent.append(number)

    def _draw(self) -> int:
        if not self._history or self._rng.random() < 0.5:
            return int(self._rng.choice(self._recent))
        weights = np.array([self._members[number].loss_rate ** 2 for number in self._history])
        return int(self._rng.choice(self._history, p=weights / weights.sum()))

    def to_move(self) -> NDArray[np.bool_]:
        """Return ``bool[N]``: for each of the N games, whether a frozen opponent is to move."""
        opponent, white = self._env.games["opponent"], self._env.games["side"] == 1
        found: NDArray[np.bool_] = np.where(white, opponent > 0, opponent < 0)
        return found

    @torch.no_grad()
    def play(self, actions: Tensor, frozen: NDArray[np.bool_]) -> None:
        """Sample the opponents' moves and write the moves into ``actions``.

        ``actions[N]`` has one action for each of the N games. ``frozen[N]`` is the result of
        ``to_move``. Only the actions where ``frozen`` is True are overwritten. The CPU does not
        wait for a GPU here, so the GPU always has the next network's work in its queue.
        """
        env = self._env
        playing = np.abs(env.games["opponent"])
        for number in np.unique(playing[frozen]).tolist():
            rows = np.flatnonzero(frozen & (playing == number))
            device = self._sampling.device
            seen = upload(env.observation[rows], device)
            legal = legal_columns(upload(env.mask[rows].view(np.int64), device))
            policy, _ = evaluate(self._nets[number], seen, self._dtype)
            draw = torch.rand(len(rows), device=device, generator=self._sampling)
            column, _ = sample(legal_logits(policy, legal), draw)
            actions[upload(rows, device)] = legal.gather(1, column)[:, 0].to(actions.dtype)

    def record_step(self, step: StepResult) -> None:
        """Count the games that ended in a step, and assign opponents to the games that began."""
        ended = np.flatnonzero(step.terminated | step.truncated)
        for row in ended[ended >= self._first].tolist():
            met = int(self._met[row])
            if met:
                learner = np.sign(met) * int(step.winner[row])  # the learner is black if met > 0
                self._members[abs(met)].record_game((1 + learner) / 2)
            self._met[row] = self._seat(row)

    def _seat(self, row: int) -> int:
        """Assign an opponent to the new game in this row; return the opponent's signed number.

        The number is positive if the opponent plays white, negative if the opponent plays black,
        and 0 if the game has no opponent.
        """
        again = int(self._env.games["opponent"][row])
        if again or not self._active:
            return again
        number = self._active[row % len(self._active)]
        opponent = number if self._rng.random() < 0.5 else -number
        self._env.seat(row, opponent)
        return opponent

    def values(self) -> dict[str, float]:
        """Return the ``opponents/*`` metrics. A score is NaN until a game against members ends."""
        if not self._settings.share:
            return {}
        return {
            "opponents/members": len(self._recent) + len(self._history),
            "opponents/score_recent": self._score(self._recent),
            "opponents/score_history": self._score(self._history),
        }

    def _score(self, numbers: list[int]) -> float:
        games = sum(self._members[number].games for number in numbers)
        points = sum(self._members[number].score for number in numbers)
        return points / games if games else float("nan")

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of the members' weights on the CPU.

        Keys are ``number.name``: the member's number, a dot, and the weight's name.
        """
        return {
            f"{number}.{name}": value.cpu().clone()
            for number, net in self._nets.items()
            for name, value in net.state_dict().items()
        }

    def state(self) -> dict[str, Any]:
        """Return the part of the state that ``tensors`` does not return, ready for JSON."""
        return {
            "members": [asdict(member) for member in self._members.values()],
            "recent": self._recent,
            "history": self._history,
            "active": self._active,
            "taken": self._taken,
            "met": self._met.tolist(),
            "sampling": generator_state(self._sampling),
            "rng": self._rng.bit_generator.state,
        }

    def load_state(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Restore the state that ``tensors`` and ``state`` returned."""
        self._members = {row["number"]: Member(**row) for row in state["members"]}
        self._nets.clear()
        for number in self._members:
            net = copy.deepcopy(self._like).requires_grad_(False)
            net.load_state_dict({name: tensors[f"{number}.{name}"] for name in net.state_dict()})
            self._nets[number] = net
        self._recent, self._history = list(state["recent"]), list(state["history"])
        self._active, self._taken = list(state["active"]), state["taken"]
        self._met[:] = state["met"]
        load_generator(self._sampling, state["sampling"])
        self._rng.bit_generator.state = state["rng"]


def _finite(net: nn.Module) -> bool:
    """Return whether all weights are finite. Waits for the device once."""
    values = [value for value in net.state_dict().values() if value.is_floating_point()]
    return bool(nn.utils.get_total_norm(values, math.inf).isfinite())

"""Owns the games, network and optimiser of a run, and trains the network in iterations."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from keisei.config import Settings
from keisei.env import VectorEnv
from keisei.formats import STATE
from keisei.nets.policy import Agent, evaluate, legal_columns
from keisei.nets.registry import build
from keisei.ppo import checkpoint
from keisei.ppo.clock import Clock, Stopwatch
from keisei.ppo.detectors import Detectors, Finding
from keisei.ppo.forward import Forward, exercise
from keisei.ppo.opponents import Opponents
from keisei.ppo.prepare import prepare_batch
from keisei.ppo.ranks import ALONE, Ranks
from keisei.ppo.recorder import FinishedGame, Recorder
from keisei.ppo.rollout import Collector
from keisei.ppo.schedule import Scheduled, scheduled
from keisei.ppo.tally import Tally
from keisei.ppo.update import Batch, Sums, descend, make_optimizer, ppo_loss

TURN_PLIES = 8
"""Maximum number of plies in one turn. The device thread reads its queues between turns."""
TURN_SECONDS = 0.1
"""Seconds after which a turn ends, even if fewer than ``TURN_PLIES`` plies were played.

With a large network on a CPU, one ply can take half a second.
"""


@dataclass(frozen=True, slots=True)
class IterationReport:
    """The result of one iteration."""

    step: int
    iteration: int
    values: dict[str, float]
    """Metrics by name, for example ``train/kl``. Some metrics can be NaN."""
    games: tuple[FinishedGame, ...]
    """Games that ended in this iteration and were recorded."""
    alerts: tuple[Finding, ...]


class Learner:
    """The learner of a run. Call its methods only in the thread that created the learner.

    All random numbers come from the learner's own generators, seeded from ``run.seed``. On a CPU,
    the same settings, number of torch threads and state give the same weights, bit for bit. If
    there are several ``ranks``, each rank has its own learner. Then the learners' games differ, but
    their weights are equal.
    """

    def __init__(
        self,
        settings: Settings,
        device: torch.device,
        dtype: torch.dtype,
        ranks: Ranks = ALONE,
    ) -> None:
        self.settings, self.device, self.dtype = settings, device, dtype
        self._ranks = ranks
        self.step = self.iteration = 0
        self.bytes_per_ply = 0.0
        """Bytes of device memory that one stored ply needs; 0 until the first rollout ends."""
        net, ppo = settings.net, settings.ppo
        seed = ranks.seed(settings.run.seed)
        self.env = _make_env(settings, seed)
        self.net = build(
            net.kind, blocks=net.blocks, channels=net.channels, seed=settings.run.seed
        ).to(device)
        ranks.share(self.net)  # on different processors the same seed can give different weights
        self.agent = Agent(self.net, device, dtype, seed)
        self.optimizer = make_optimizer(self.net, ppo.weight_decay)
        self.clock = Clock()
        self._forward = Forward(
            self.net, compile=settings.compute.compile, graphs=device.type == "cuda"
        )
        self._sampling = torch.Generator(device).manual_seed(seed)
        self._shuffling = torch.Generator(device).manual_seed(seed + 1)
        self._opponents = Opponents(settings.opponents, self.env, self.net, dtype, seed + 2)
        self._collector = Collector(
            self.env,
            self._forward,
            ppo.rollout_plies,
            ppo.declaration_reward,
            device,
            dtype,
            self._sampling,
            self._opponents,
            self.clock,
        )
        self._recorder = Recorder(self.env, settings.run.games_recorded)
        self._tally = Tally()
        self._detectors = Detectors(str(dtype).removeprefix("torch."), settings.detectors)
        self._skipped_in_a_row = torch.zeros((), device=device)

    def warm_up(self) -> None:
        """Compile the network and the kernels. Without caches, compiling is slow.

        Learning gives the same weights with and without this call.
        """
        legal_columns(torch.tensor(self.env.mask.view(np.int64), device=self.device))
        self._forward.bring_up(self._use_network)

    def _use_network(self) -> None:
        """Run the network with the tensor shapes of an iteration."""
        games, minibatch = len(self.env), self.settings.ppo.minibatch
        if not self._forward.compiled:  # a compiled network always gets full minibatches
            minibatch = min(minibatch, games * self.settings.ppo.rollout_plies)
        seen = torch.tensor(self.env.observation, device=self.device)
        exercise(self._forward, seen, minibatch, self.dtype)
        self.optimizer.zero_grad(set_to_none=True)

    @property
    def compile_failure(self) -> str:
        """Reason why compiling the network failed. Empty if compiling has not failed.

        The value is final after ``warm_up``.
        """
        return self._forward.failure

    def iterate(self) -> Generator[None, None, IterationReport]:
        """Run one iteration: a rollout and its update.

        The generator yields after each turn and returns the report at the end. If the generator is
        closed, the rest of the iteration is neither played nor learned. Raises DivergedError if
        ``Detectors.check`` raises it.
        """
        now, watch = scheduled(self.settings, self.step), Stopwatch()
        self.clock.reset()
        self._tally.begin()
        games = yield from self._roll_out(now, watch)
        rollout = self._collector.finish()
        self.bytes_per_ply = rollout.bytes_per_ply
        if self._slow(watch):
            yield from watch.suspend()
        with self.clock.phase("gae"):
            batch, summary = prepare_batch(rollout, self.settings, now.material, self._ranks)
        sums = Sums(self.device)
        learned = self._collector.learned()
        steps = self._count(len(learned))
        for _ in range(self.settings.ppo.epochs):
            for index in self._shuffle(learned):
                self._learn(batch, index, now, sums)
                yield from watch.suspend()
        self.step += steps
        self.iteration += 1
        values = self._values(now, steps, summary | sums.means(), watch)
        alerts = tuple(self._detectors.check(values))
        return IterationReport(self.step, self.iteration, values, tuple(games), alerts)

    def _roll_out(
        self, now: Scheduled, watch: Stopwatch
    ) -> Generator[None, None, list[FinishedGame]]:
        """Play the plies of an iteration.

        The generator yields after each turn and returns the recorded games at the end.
        """
        if self.iteration and self.iteration % self.settings.env.reset_refresh == 0:
            with self.clock.phase("env"):
                self.env.refill_reset_pool()
        self.env.reset_share = now.reset_share
        self._opponents.refresh(self.iteration, self.step)
        games: list[FinishedGame] = []
        for t in range(self.settings.ppo.rollout_plies):
            games += self._ply(t)
            if (t + 1) % TURN_PLIES == 0 or self._slow(watch):
                yield from watch.suspend()
        return games

    def _slow(self, watch: Stopwatch) -> bool:
        """Return whether to end the turn now. Several ranks take equal turns, or else they hang."""
        return self._ranks.size == 1 and watch.turn_seconds() > TURN_SECONDS

    def _ply(self, t: int) -> list[FinishedGame]:
        actions, step = self._collector.ply(t)
        with self.clock.phase("env"):
            self._tally.add(step)
            return self._recorder.record_step(self.env, actions, step)

    def _count(self, learned: int) -> int:
        """Return the sum of ``learned`` over all ranks.

        Also, replace the tally's newest row by the sum of the newest rows of all ranks.
        """
        *before, ended = self._tally.state()
        steps, *ended = self._ranks.total([learned, *ended])
        self._tally.load_state([*before, ended])
        return steps

    def play(self) -> None:
        """Play a rollout without learning from it."""
        for t in range(self.settings.ppo.rollout_plies):
            self._ply(t)

    def _shuffle(self, learned: Tensor) -> tuple[Tensor, ...]:
        """Return the minibatches of one epoch, as indices into the flattened rollout.

        The minibatches have similar sizes. All ranks have the same number of minibatches, even if
        the ranks have different numbers of ``learned`` plies.
        """
        count, size = len(learned), self.settings.ppo.minibatch
        (plies,) = self._ranks.total([count])
        parts = max(1, round(plies / self._ranks.size / size))
        order = learned[torch.randperm(count, generator=self._shuffling, device=self.device)]
        # A compiled network needs minibatches of equal size, so some plies occur twice or never.
        if self._forward.compiled:
            if not count:  # use an opponent's ply, whose weight is 0
                order = learned.new_zeros(1)
            order = order.repeat(-(-parts * size // len(order)))[: parts * size]
        return order.tensor_split(parts)

    def _learn(self, rollout: Batch, index: Tensor, now: Scheduled, sums: Sums) -> None:
        """Learn from one minibatch, which consists of the rows ``index`` of the rollout."""
        ppo = self.settings.ppo
        with self.clock.phase("update"):
            batch = rollout.select(index)
            for group in self.optimizer.param_groups:
                group["lr"] = now.learning_rate
            legal = legal_columns(batch.mask)
            policy, outcome = evaluate(self._forward, batch.observation, self.dtype)
            loss, stats = ppo_loss(
                policy, outcome, legal, batch, ppo.clip, ppo.value_coefficient, now.entropy
            )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            loss, stats = self._ranks.unite(self.net, batch.weight, loss.detach(), stats)
            norm, skipped = descend(self.net, self.optimizer, loss, ppo.grad_clip)
            self._skipped_in_a_row = (self._skipped_in_a_row + skipped) * skipped
            sums.add(stats, norm, skipped, self._skipped_in_a_row)

    def _values(
        self, now: Scheduled, steps: int, measured: dict[str, Tensor], watch: Stopwatch
    ) -> dict[str, float]:
        """Return the metrics of the iteration by name."""
        with self.clock.phase("update"):
            # All metrics are copied from the device at once, because each copy makes the CPU wait.
            numbers = torch.stack([value.float() for value in measured.values()])
            means = self._ranks.mean(numbers).tolist()
        seconds = watch.total_seconds()
        values = {f"train/{k}": v for k, v in zip(measured, means, strict=True)}
        values |= {
            "train/lr": now.learning_rate,
            "train/material": now.material,
            "train/entropy_weight": now.entropy,
        }
        values |= {f"speed/share_{k}": v / seconds for k, v in self.clock.seconds.items()}
        # On a CPU, ``speed/limit_ratio`` is the network's share of the iteration's time. On a GPU,
        # the CPU's time in a phase is not the network's time. `keisei bench train` measures the
        # network's time separately.
        if self.device.type == "cpu":
            network = values["speed/share_inference"] + values["speed/share_update"]
            values["speed/limit_ratio"] = network
        values |= self._tally.values() | self._opponents.values()
        if self.settings.opponents.share:
            played = self._ranks.size * len(self.env) * self.settings.ppo.rollout_plies
            values["opponents/plies"] = played - steps
        return values

    def board(self) -> dict[str, Any] | None:
        """Return the position before the newest move of the showcase game.

        The fields are the game's number, the position's SFEN, the move that led to the position,
        the ply, and the network's value and most probable moves. Returns None if the game has no
        move yet, or if the network has chosen no move since the last ``load`` or ``show``.
        """
        shown = self._recorder.showcase(self.env)
        if shown is None or (answer := self._collector.answer()) is None:
            return None
        top, value = answer
        return {
            "game": shown.number,
            "sfen": shown.position.sfen(),
            "last_move": shown.last_move,
            "ply": shown.ply,
            "value": value,
            "top_moves": tuple((shown.position.usi(action), chance) for action, chance in top),
        }

    def show(self, game: int | Literal["longest", "newest"]) -> int:
        """Choose the game in progress that ``board`` returns; return its number.

        When the game ends, ``board`` goes on with the next game in the same slot. Training does not
        depend on the choice.

        Raises LookupError if no game with the number ``game`` is in progress.
        """
        numbers, length = self.env.game_number, self.env.games["ply"]
        if game == "longest":
            slots = np.flatnonzero(length == length.max())
        elif game == "newest":
            slots = np.flatnonzero(numbers == numbers.max())
        else:
            slots = np.flatnonzero(numbers == game)
        if not len(slots):
            raise LookupError(f"game {game} is not in progress; the newest game is {numbers.max()}")
        slot = int(slots[0])
        self._collector.show(slot)
        self._recorder.show(slot)
        return int(numbers[slot])

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return the tensors of a checkpoint by group, as copies on the CPU.

        Call this between iterations. The groups in ``checkpoint.RANK_GROUPS`` differ between ranks.
        """
        return {
            "weights": checkpoint.to_cpu(self.net.state_dict()),
            "optimizer": checkpoint.to_cpu(checkpoint.moments(self.optimizer)),
            "env": checkpoint.pack_arrays(self._arrays()),
            "pool": self._opponents.tensors(),
        }

    def _arrays(self) -> checkpoint.Arrays:
        return {"env": self.env.state(), "recorder": self._recorder.state()[0]}

    def state(self) -> dict[str, Any]:
        """Return the part of a checkpoint that ``tensors`` does not return, ready for JSON."""
        return {
            "format": STATE,
            "step": self.step,
            "iteration": self.iteration,
            "ranks": self._ranks.size,
            "net": self.settings.net.model_dump(),
            "generators": {
                "sampling": checkpoint.generator_state(self._sampling),
                "shuffling": checkpoint.generator_state(self._shuffling),
            },
            "skipped_in_a_row": float(self._skipped_in_a_row),
            "tally": self._tally.state(),
            "recorder": self._recorder.state()[1],
            "opponents": self._opponents.state(),
            "detectors": self._detectors.state(),
            "quiet": self._detectors.quiet,
        }

    def load(self, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
        """Restore the checkpoint that consists of ``tensors`` and ``state``.

        On a CPU, training after ``load`` gives the same weights, bit for bit, as training without a
        break. Raises ValueError if the checkpoint's format, network or number of games differs from
        the learner's.
        """
        checkpoint.check_format(state)
        arrays = checkpoint.unpack_arrays(tensors["env"], self._arrays())
        self.load_weights(tensors["weights"])
        checkpoint.load_moments(self.optimizer, self.net, tensors["optimizer"])
        self.env.load_state(arrays["env"])
        self._recorder.load_state(arrays["recorder"], state["recorder"])
        self._collector.newest = None  # ``newest`` belongs to a game that was replaced
        self._tally.load_state(state["tally"])
        self._opponents.load_state(tensors["pool"], state["opponents"])
        self._detectors.load_state(state["detectors"])
        checkpoint.load_generator(self._sampling, state["generators"]["sampling"])
        checkpoint.load_generator(self._shuffling, state["generators"]["shuffling"])
        self._skipped_in_a_row.fill_(state["skipped_in_a_row"])
        self.step, self.iteration = state["step"], state["iteration"]

    def roll_back(self, tensors: Mapping[str, Mapping[str, Tensor]], step: int) -> None:
        """Restore weights and optimiser state from the checkpoint that was saved at ``step``.

        Games and random numbers are not restored, because learning could fail again if they were
        the same. Opponents that were frozen after ``step`` are no longer chosen.
        """
        self.load_weights(tensors["weights"])
        checkpoint.load_moments(self.optimizer, self.net, tensors["optimizer"])
        self._opponents.forget_since(step)
        self._tally = Tally()  # the old tally counts games played with the discarded weights
        self._skipped_in_a_row.zero_()
        self._detectors.reset()

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Load weights into the network only. Raises ValueError if the weights don't fit."""
        checkpoint.load_weights(self.net, weights, self.settings.net)


def _make_env(settings: Settings, seed: int) -> VectorEnv:
    """Return the games of a run, each at a random ply, so that the games end at different times."""
    env = settings.env
    games = VectorEnv(
        env.games,
        max_ply=env.max_ply,
        declaration=env.declaration,
        mates=env.mates,
        seed=seed,
        threads=env.threads,
        reset_share=env.reset_share,
        reset_depth=env.reset_depth,
        reset_pool=env.reset_pool,
    )
    games.stagger()
    return games

"""The learner: games, network, optimiser and generators of one run, advanced an iteration at a time."""

import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from keisei.config import Settings
from keisei.env import VectorEnv
from keisei.nets.policy import (
    MOST_LEGAL,
    Agent,
    evaluate,
    legal_columns,
    legal_log_probs,
    outcome_value,
)
from keisei.nets.registry import build
from keisei.ppo.clock import Clock
from keisei.ppo.detectors import Detectors, Finding
from keisei.ppo.forward import Forward
from keisei.ppo.gae import negamax_gae, outcome_targets
from keisei.ppo.opponents import Opponents
from keisei.ppo.ranks import ALONE, Ranks
from keisei.ppo.recorder import FinishedGame, Recorder
from keisei.ppo.rollout import Collector, Rollout
from keisei.ppo.schedule import Scheduled, scheduled
from keisei.ppo.tally import Tally
from keisei.ppo.update import Batch, Sums, descend, make_optimizer, ppo_loss, scale_advantages

TURN_PLIES = 8
"""Plies between two looks at the queues during a rollout, at most."""
TURN_SECONDS = 0.1
"""After so long the look comes earlier: a large network on a CPU takes half a second a ply."""
ROOM_BYTES = 1 << 24
"""What the heap has beyond what a first iteration needs."""
OWN = ("env", "pool")
"""Groups of a checkpoint of which each rank has its own."""
_FORMAT = 2


@dataclass(frozen=True, slots=True)
class IterationReport:
    """What one iteration did."""

    step: int
    iteration: int
    values: dict[str, float]
    """Metrics by name (``train/kl`` ...); may hold NaN."""
    games: tuple[FinishedGame, ...]
    """The recorded ones among the games that ended."""
    alerts: tuple[Finding, ...]


class Learner:
    """Everything of a run that learns. All calls belong on the thread that made it.

    The random numbers come from generators of its own, seeded by ``run.seed``; on the CPU the same
    settings, torch threads and state give the same weights, bit for bit. With several ``ranks`` each
    has a learner: other games, equal weights.
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
        """What a stored ply takes on the device, once there was a rollout."""
        env, net, ppo = settings.env, settings.net, settings.ppo
        seed = ranks.seed(settings.run.seed)
        self.env = VectorEnv(
            env.games,
            max_ply=env.max_ply,
            declaration=env.declaration,
            seed=seed,
            threads=env.threads,
            reset_share=env.reset_share,
            reset_depth=env.reset_depth,
            reset_pool=env.reset_pool,
        )
        self.env.stagger()
        self.net = build(
            net.kind, blocks=net.blocks, channels=net.channels, seed=settings.run.seed
        ).to(device)
        ranks.share(self.net)  # another processor may have drawn others from the seed
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
            ppo.declaration,
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
        """Bring networks and kernels up (slow with a cold cache). Changes nothing that learning sees."""
        legal_columns(torch.tensor(self.env.mask.view(np.int64), device=self.device))
        self._forward.bring_up(self._use_network)

    def _use_network(self) -> None:
        """Once forward, once backward, in the shapes of an iteration."""
        games, minibatch = len(self.env), self.settings.ppo.minibatch
        seen = torch.tensor(self.env.observation, device=self.device)
        with torch.no_grad():
            evaluate(self._forward, seen, self.dtype)
        if not self._forward.compiled:  # else small rollouts, too, are learned in its one shape
            minibatch = min(minibatch, games * self.settings.ppo.rollout_plies)
        rows = torch.arange(minibatch, device=self.device) % games
        policy, outcome = evaluate(self._forward, seen[rows], self.dtype)
        # A heap that keeps what is freed (``keep_freed_memory``) grows for hours, by a few MiB at a
        # time: when a position has more legal moves than any before, and when small things that stay
        # cut up the room of large tensors. So the largest lists there can be, and room to spare, are
        # taken once and given back.
        room = torch.ones(ROOM_BYTES if self.device.type == "cpu" else 0, dtype=torch.uint8)
        legal = torch.arange(MOST_LEGAL, device=self.device).repeat(len(rows), 1)
        log_probs = legal_log_probs(policy, legal)
        ((log_probs.softmax(1) * log_probs).sum() + outcome.sum()).backward()
        self.optimizer.zero_grad(set_to_none=True)
        del room

    @property
    def compile_failure(self) -> str:
        """Why the network runs plain though ``compute.compile`` asks for more; known after ``warm_up``."""
        return self._forward.failure

    def iterate(self) -> Generator[None, None, IterationReport]:
        """One iteration: a rollout and its update. Yields after every turn, returns the report.

        Closing the generator half-way abandons the iteration; its plies are lost for learning.
        Raises DivergedError when learning broke down.
        """
        settings = self.settings
        now = scheduled(settings, self.step)
        self.clock.reset()
        self._tally.begin()
        watch = _Stopwatch()
        if self.iteration and self.iteration % settings.env.reset_refresh == 0:
            with self.clock.phase("env"):
                self.env.refill_reset_pool()
        self.env.reset_share = now.reset_share
        self._opponents.refresh(self.iteration, self.step)
        games: list[FinishedGame] = []
        for t in range(settings.ppo.rollout_plies):
            games += self._ply(t)
            if (t + 1) % TURN_PLIES == 0 or watch.running() > TURN_SECONDS:
                watch.stop()
                yield
                watch.start()
        rollout = self._collector.finish()
        self.bytes_per_ply = rollout.bytes_per_ply
        if watch.running() > TURN_SECONDS:
            watch.stop()
            yield
            watch.start()
        with self.clock.phase("gae"):
            batch, summary = _prepare(rollout, settings, now.material, self._ranks)
        sums = Sums(self.device)
        learned = self._collector.learned()
        steps = self._count(len(learned))
        for _ in range(settings.ppo.epochs):
            for index in self._shuffle(learned):
                self._learn(batch, index, now, sums)
                watch.stop()
                yield
                watch.start()
        self.step += steps
        self.iteration += 1
        return self._report(now, steps, summary, sums, games, watch)

    def _ply(self, t: int) -> list[FinishedGame]:
        actions, step = self._collector.ply(t)
        with self.clock.phase("env"):
            self._tally.add(step)
            return self._recorder.record_step(self.env, actions, step)

    def _count(self, learned: int) -> int:
        """The plies that all ranks learned; the games that ended on them enter the tally, too."""
        *before, ended = self._tally.state()
        steps, *ended = self._ranks.total([learned, *ended])
        self._tally.load_state([*before, ended])
        return steps

    def play(self) -> None:
        """Play a rollout without learning from it."""
        for t in range(self.settings.ppo.rollout_plies):
            self._ply(t)

    def _shuffle(self, learned: Tensor) -> tuple[Tensor, ...]:
        """The minibatches of one epoch: indices, in parts of nearly equal size.

        As many on all ranks, though one may have more plies to learn from than another.
        """
        count, size = len(learned), self.settings.ppo.minibatch
        (plies,) = self._ranks.total([count])
        parts = max(1, round(plies / self._ranks.size / size))
        order = learned[torch.randperm(count, generator=self._shuffling, device=self.device)]
        if self._forward.compiled:  # for one shape: some plies come twice, or not at all
            order = order.repeat(-(-parts * size // count))[: parts * size]
        return order.tensor_split(parts)

    def _learn(self, rollout: Batch, index: Tensor, now: Scheduled, sums: Sums) -> None:
        """One minibatch: the rows in ``index``."""
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

    def _report(
        self,
        now: Scheduled,
        steps: int,
        summary: dict[str, Tensor],
        sums: Sums,
        games: list[FinishedGame],
        watch: "_Stopwatch",
    ) -> IterationReport:
        with self.clock.phase("update"):
            measured = summary | sums.means()
            # The one copy from the device of an iteration.
            numbers = torch.stack([value.float() for value in measured.values()])
            means = self._ranks.mean(numbers).tolist()
        seconds = watch.stop()
        values = {f"train/{k}": v for k, v in zip(measured, means, strict=True)}
        values |= {
            "train/lr": now.learning_rate,
            "train/material": now.material,
            "train/entropy_weight": now.entropy,
            "speed/steps_per_second": steps / seconds,
        }
        values |= {f"speed/share_{k}": v / seconds for k, v in self.clock.seconds.items()}
        # What the network alone would allow, measured in place; `keisei bench train` measures it apart.
        if self.device.type == "cpu":  # elsewhere the phases overlap what the device does
            network = values["speed/share_inference"] + values["speed/share_update"]
            values["speed/limit_ratio"] = network
        values |= self._tally.values() | self._opponents.values()
        if self.settings.opponents.share:
            played = self._ranks.size * len(self.env) * self.settings.ppo.rollout_plies
            values["opponents/plies"] = played - steps
        alerts = tuple(self._detectors.check(values))
        return IterationReport(self.step, self.iteration, values, tuple(games), alerts)

    def board(self) -> dict[str, Any] | None:
        """The position in which the network was asked last in the showcase game, with its answer:
        number, SFEN, last move, ply, value, most probable moves. None where that game has just begun.
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

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """What a checkpoint holds, as copies on the CPU. To be taken between iterations.

        The groups in ``OWN`` differ by rank.
        """
        moments = {
            f"{index}.{name}": value
            for index, state in self.optimizer.state_dict()["state"].items()
            for name, value in state.items()
        }
        arrays = {f"env.{name}": array for name, array in self.env.state().items()}
        arrays |= {f"recorder.{name}": array for name, array in self._recorder.state()[0].items()}
        return {
            "weights": {k: v.detach().cpu().clone() for k, v in self.net.state_dict().items()},
            "optimizer": {k: v.detach().cpu().clone() for k, v in moments.items()},
            "env": {name: _bytes(array) for name, array in arrays.items()},
            "pool": self._opponents.tensors(),
        }

    def state(self) -> dict[str, Any]:
        """The rest of a checkpoint: counters and generators, ready for JSON."""
        return {
            "format": _FORMAT,
            "step": self.step,
            "iteration": self.iteration,
            "ranks": self._ranks.size,
            "net": self.settings.net.model_dump(),
            "generators": {
                "sampling": self._sampling.get_state().numpy().tobytes().hex(),
                "shuffling": self._shuffling.get_state().numpy().tobytes().hex(),
            },
            "skipped_in_a_row": float(self._skipped_in_a_row),
            "tally": self._tally.state(),
            "recorder": self._recorder.state()[1],
            "opponents": self._opponents.state(),
            "detectors": self._detectors.state(),
            "quiet": self._detectors.quiet,
        }

    def load(self, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
        """Continue where ``tensors`` and ``state`` were taken, on the CPU bit for bit.

        Raises ValueError if they belong to another format, network or number of games.
        """
        if state["format"] != _FORMAT:
            raise ValueError(
                f"checkpoint has format {state['format']}, this is {_FORMAT}; "
                "begin a new run from its weights with --init"
            )
        arrays = self._arrays(tensors["env"])
        self.load_weights(tensors["weights"])
        self._load_moments(tensors["optimizer"])
        self.env.load_state(arrays["env"])
        self._recorder.load_state(arrays["recorder"], state["recorder"])
        self._collector.newest = None  # it was said of other games
        self._tally.load_state(state["tally"])
        self._opponents.load_state(tensors["pool"], state["opponents"])
        self._detectors.load_state(state["detectors"])
        for name, generator in (("sampling", self._sampling), ("shuffling", self._shuffling)):
            raw = bytearray.fromhex(state["generators"][name])
            generator.set_state(torch.frombuffer(raw, dtype=torch.uint8))
        self._skipped_in_a_row.fill_(state["skipped_in_a_row"])
        self.step, self.iteration = state["step"], state["iteration"]

    def roll_back(self, tensors: Mapping[str, Mapping[str, Tensor]], step: int) -> None:
        """Take weights and the optimiser's moments from the checkpoint of ``step``; all else goes on.

        The games and random numbers stay as they are: the same ones would lead to the same end.
        Opponents frozen since then are drawn no more.
        """
        self.load_weights(tensors["weights"])
        self._load_moments(tensors["optimizer"])
        self._opponents.forget_since(step)
        self._tally = Tally()  # of games by the weights that are given up
        self._skipped_in_a_row.zero_()
        self._detectors.reset()

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over a network's weights alone. Raises ValueError if they don't fit."""
        try:
            self.net.load_state_dict(dict(weights), strict=True)
        except RuntimeError as error:
            raise ValueError(f"weights do not fit {self.settings.net}: {error}") from None

    def _load_moments(self, moments: Mapping[str, Tensor]) -> None:
        # The fused optimiser pairs a parameter with its moments by their order in memory, and files
        # keep no layout: each must be laid out as its parameter is (channels last).
        parameters = list(self.net.parameters())
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in moments.items():
            index, name = key.split(".")
            like = value if value.dim() == 0 else parameters[int(index)].detach()
            state.setdefault(int(index), {})[name] = torch.empty_like(like).copy_(value)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})

    def _arrays(self, saved: Mapping[str, Tensor]) -> dict[str, dict[str, NDArray[Any]]]:
        """Arrays of environment and recorder from their bytes, checked against this run's."""
        own = {"env": self.env.state(), "recorder": self._recorder.state()[0]}
        arrays: dict[str, dict[str, NDArray[Any]]] = {part: {} for part in own}
        for part, name, like in ((p, n, a) for p, group in own.items() for n, a in group.items()):
            tensor = saved.get(f"{part}.{name}")
            if tensor is None or tensor.numel() != like.nbytes:
                found = "nothing" if tensor is None else f"{tensor.numel()} bytes"
                raise ValueError(
                    f"checkpoint: {part}.{name}: {found}, expected {like.nbytes} bytes"
                )
            arrays[part][name] = tensor.numpy().view(like.dtype).reshape(like.shape)
        return arrays


class _Stopwatch:
    """Seconds between ``start`` and ``stop``, without the turns of others."""

    def __init__(self) -> None:
        self._total = 0.0
        self.start()

    def start(self) -> None:
        self._since = time.perf_counter()

    def running(self) -> float:
        """Seconds since ``start``."""
        return time.perf_counter() - self._since

    def stop(self) -> float:
        now = time.perf_counter()
        self._total += now - self._since
        self._since = now
        return self._total


@torch.no_grad()
def _prepare(
    rollout: Rollout, settings: Settings, material: float, ranks: Ranks = ALONE
) -> tuple[Batch, dict[str, Tensor]]:
    """A rollout as a flat batch with scaled advantages and targets, and what is known about it.

    Material enters the bootstrap of the advantages alone: through lambda < 1 it says which way to
    go while games rarely end, and leaves the value head's target untouched.
    """
    gamma, lam = settings.ppo.gamma, settings.ppo.gae_lambda
    ends = rollout.reward, rollout.terminated, rollout.truncated
    outcome = rollout.outcome[:-1]
    next_outcome, next_material = rollout.following()
    value = outcome_value(outcome)
    hinted = value + material * rollout.material[:-1]
    next_hinted = outcome_value(next_outcome) + material * next_material
    advantage = negamax_gae(*ends, hinted, next_hinted, gamma, lam)
    target = outcome_targets(*ends, next_outcome, gamma, lam)
    batch = Batch(
        observation=rollout.observation.flatten(0, 1),
        mask=rollout.mask.flatten(0, 1),
        choice=rollout.choice.flatten(),
        log_prob=rollout.log_prob.flatten(),
        advantage=scale_advantages(advantage, rollout.weight, ranks=ranks).flatten(),
        target=target.flatten(0, 1),
        weight=rollout.weight.flatten(),
    )
    return batch, _summary(outcome, advantage, target, value)


def _summary(
    outcome: Tensor, advantage: Tensor, target: Tensor, value: Tensor
) -> dict[str, Tensor]:
    """How good the value head was on plies that it had not learned from."""
    returns = outcome_value(target)
    variance = returns.var()
    cross = -(target * outcome.clamp(min=1e-6).log()).sum(-1).mean()
    rate = target.mean((0, 1))
    return {
        "explained_variance": 1 - (returns - value).var() / variance,
        "return_variance": variance,
        "value_unseen": cross,
        "value_base_rate": -(rate * rate.clamp(min=1e-6).log()).sum(),
        "advantage_rms": advantage.square().mean().sqrt(),
        "draw_probability": outcome[..., 1].mean(),
    }


def _bytes(array: NDArray[Any]) -> Tensor:
    """Any array as uint8: not every dtype of numpy's can be stored as a tensor."""
    return torch.from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.uint8))

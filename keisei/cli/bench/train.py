"""Measure training: steps per second, and the limit that the network's computing time sets.

An iteration learns from B plies in E epochs. The network's computing time limits the speed to
limit = B / (t_fwd + t_opp + E t_upd), with these times:

- ``t_fwd``: time of the network's inference for the whole rollout.
- ``t_opp``: time of the frozen opponents' inference for the opponents' plies.
- ``t_upd``: time of the updates of one epoch.

The network, precision, legal moves, loss and optimiser are the same as in training. The data for
these measurements is prepared in memory, so that games, sampling and bookkeeping take no time.

``achieved`` is the learner's speed. The measured time includes the rollout, the update and an
iteration's share of a refill of the reset pool. The time does not include checkpoints, boards,
records of games on disk, or the event loop. ``reference`` is the same limit, without ``t_opp``, for
a simple loop without compilation. This loop shares only the network with Keisei. If ``reference``
is higher than ``limit``, Keisei's code for inference or updates is too slow.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keisei.cli.errors import EnvironmentProblem, require

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from keisei.config import Settings
    from keisei.ppo.learner import Learner

WARM_UP = 2
"""Number of iterations before the first measured iteration."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``keisei bench train``."""
    from keisei.cli.settings import add_config, whole

    add_config(parser)
    parser.add_argument(
        "--repeats",
        type=whole,
        metavar="N",
        default=9,
        help="number of measured iterations, 5 or more (default: 9)",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Return median speeds in steps per second, and median times in seconds.

    ``ratio`` is ``achieved`` divided by ``limit``. ``mfu`` compares two numbers of floating-point
    operations per second: the network's number in training, divided by the number of a large matrix
    product. The product is computed six times, on the same device in the same precision, and the
    fastest time counts. ``device_bytes_peak`` is the largest number of bytes of GPU memory that
    training used. In ``seconds``, ``refill`` is the time of a whole refill of the reset pool, which
    happens every ``env.reset_refresh`` iterations. In ``phases``, ``refill`` is that time divided
    by ``env.reset_refresh``.
    """
    from keisei.cli import process
    from keisei.cli.settings import load

    require("repeats", args.repeats, args.repeats >= 5, "5 or more")
    settings = load(args)
    process.set_up()
    import torch

    from keisei.nets.policy import resolve_device, resolve_dtype
    from keisei.ppo.learner import Learner

    device = resolve_device(settings.device)
    dtype = resolve_dtype(settings.compute.dtype, device)
    torch.set_num_threads(settings.compute.threads or torch.get_num_threads())
    learner = Learner(settings, device, dtype)
    try:
        return _measure(learner, settings, args.repeats)
    finally:
        learner.env.close()


def _measure(learner: "Learner", settings: "Settings", repeats: int) -> dict[str, Any]:
    import torch

    learner.warm_up()
    if learner.compile_failure:
        raise EnvironmentProblem(f"compute.compile: {learner.compile_failure}")
    _fill_pool(learner)
    on_gpu = learner.device.type == "cuda"
    peak_bytes = torch.cuda.max_memory_allocated(learner.device) if on_gpu else 0
    steps: list[int] = []
    parts: dict[str, Callable[[], None]] = {"iteration": lambda: steps.append(_iterate(learner))}
    parts["refill"] = learner.env.refill_reset_pool
    parts |= network_parts(learner, settings)
    parts |= _reference(learner, settings)
    phases: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {name: [] for name in parts}
    for repeat in range(WARM_UP + repeats):
        for name, part in parts.items():  # the parts alternate, so drift affects all alike
            seconds = timed(part, learner.device)
            if repeat >= WARM_UP:
                times[name].append(seconds)
        if repeat >= WARM_UP:
            for name, seconds in learner.clock.seconds.items():
                phases.setdefault(name, []).append(seconds)
    median = {name: statistics.median(values) for name, values in times.items()}
    plies, epochs = statistics.median(steps), settings.ppo.epochs
    refill = median["refill"] / settings.env.reset_refresh
    acting, acting_plainly = median["t_fwd"] + median["t_opp"], median["reference_fwd"]
    achieved = plies / (median["iteration"] + refill)
    limit = plies / (acting + epochs * median["t_upd"])
    reference = plies / (acting_plainly + epochs * median["reference_upd"])
    work = _forward_flops(learner) * (1 + 3 * epochs)
    peak = _matmul_peak(learner.device, learner.dtype)
    spent = {name: statistics.median(values) for name, values in phases.items()}
    spent |= {"refill": refill, "other": median["iteration"] - sum(spent.values())}
    return {
        "achieved": achieved,
        "limit": limit,
        "ratio": achieved / limit,
        "reference": reference,
        "mfu": achieved * work / peak,
        "phases": spent,
        "seconds": median,
        "spread": {name: [min(values), max(values)] for name, values in times.items()},
        "flops_per_step": work,
        "matmul_peak_flops": peak,
        "repeats": repeats,
        "plies": plies,
        "bytes_per_ply": learner.bytes_per_ply,
        "device_bytes_peak": peak_bytes,
        "device": str(learner.device),
        "dtype": str(learner.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "net": settings.net.model_dump(),
        "parameters": sum(p.numel() for p in learner.net.parameters()),
    }


def _fill_pool(learner: "Learner") -> None:
    """Play until the share of games with frozen opponents is almost as high as in a long run."""
    learner.iteration = 0
    for _ in learner.iterate():
        pass
    wanted = 0.95 * int(learner.settings.opponents.share * len(learner.env))
    while (learner.env.games["opponent"] != 0).sum() < wanted:
        learner.play()


def _iterate(learner: "Learner") -> int:
    """Run one iteration. Return the number of steps in this iteration."""
    # Iteration 1 never refills the reset pool. The time of a refill is measured separately.
    learner.iteration = 1
    before = learner.step
    for _ in learner.iterate():
        pass
    return learner.step - before


def timed(part: Callable[[], None], device: "torch.device") -> float:
    """Call ``part``. Return the seconds that the call and its work on the device took."""
    import torch

    start = time.perf_counter()
    part()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _positions(learner: "Learner", count: int) -> tuple["Tensor", "Tensor"]:
    """Return the observations and masks of ``count`` randomly played games, on the device."""
    import numpy as np
    import torch

    from keisei.env import VectorEnv

    env = VectorEnv(count, seed=1, max_ply=learner.settings.env.max_ply, reset_pool=0)
    env.stagger()
    observation = torch.tensor(env.observation, device=learner.device)
    return observation, torch.tensor(env.mask.view(np.int64), device=learner.device)


def network_parts(learner: "Learner", settings: "Settings") -> dict[str, Callable[[], None]]:
    """Return the functions ``t_fwd``, ``t_opp`` and ``t_upd``, which use a copy of the network."""
    import torch

    from keisei.nets.policy import evaluate, legal_columns
    from keisei.ppo.forward import Forward
    from keisei.ppo.update import Batch, make_optimizer, optimise, ppo_loss

    ppo, dtype = settings.ppo, learner.dtype
    net = copy.deepcopy(learner.net)
    on_gpu = learner.device.type == "cuda"
    forward = Forward(net, compile=settings.compute.compile, graphs=on_gpu)
    optimizer = make_optimizer(net, ppo.weight_decay)
    acting, _ = _positions(learner, settings.env.games)
    size = _minibatch(settings)
    batch = Batch(*_positions(learner, size), *_learning_data(learner, size))
    legal = legal_columns(batch.mask)
    theirs = round(settings.opponents.share * settings.env.games / 2 / settings.opponents.active)

    @torch.no_grad()
    def t_fwd() -> None:
        for _ in range(ppo.rollout_plies):
            evaluate(forward, acting, dtype)

    @torch.no_grad()
    def t_opp() -> None:
        for _ in range(ppo.rollout_plies * settings.opponents.active * (theirs > 0)):
            evaluate(net, acting[:theirs], dtype)

    def t_upd() -> None:
        for _ in range(_minibatches(settings)):
            policy, outcome = evaluate(forward, batch.observation, dtype)
            loss, _ = ppo_loss(
                policy, outcome, legal, batch, ppo.clip, ppo.value_coefficient, ppo.entropy
            )
            optimise(net, optimizer, loss, ppo.grad_clip)

    return {"t_fwd": t_fwd, "t_opp": t_opp, "t_upd": t_upd}


def _learning_data(learner: "Learner", count: int) -> tuple["Tensor", ...]:
    """Return made-up data for ``Batch``: the fields from ``choice`` to ``proven``."""
    import torch

    device = learner.device
    return (
        torch.zeros(count, dtype=torch.int16, device=device),
        torch.full((count,), -4.0, device=device),
        torch.randn(count, generator=torch.Generator().manual_seed(1)).to(device),
        torch.full((count, 3), 1 / 3, device=device),
        torch.ones(count, device=device),
        torch.zeros(count, dtype=torch.bool, device=device),
    )


def _reference(learner: "Learner", settings: "Settings") -> dict[str, Callable[[], None]]:
    """Return inference and updates of a simple PPO (softmax over all 2,187 actions, Adam)."""
    import torch

    from keisei.nets.planes import expand
    from keisei.nets.policy import legal_columns

    ppo, device, dtype = settings.ppo, learner.device, learner.dtype
    net: nn.Module = copy.deepcopy(learner.net)
    optimizer = torch.optim.Adam(net.parameters(), ppo.learning_rate)
    acting = expand(_positions(learner, settings.env.games)[0]).contiguous()
    size = _minibatch(settings)
    observation, mask = _positions(learner, size)
    learning, legal = expand(observation).contiguous(), legal_columns(mask)
    illegal = torch.ones(size, 2188, dtype=torch.bool, device=device)
    illegal = illegal.scatter(1, torch.where(legal < 0, 2187, legal), value=False)[:, :2187]
    action = legal.max(1, keepdim=True).values
    _, old, advantage, target, *_ = _learning_data(learner, size)

    def loss() -> "Tensor":
        policy, outcome = net(learning)
        log_probs = policy.float().masked_fill(illegal, -1e9).log_softmax(1)
        ratio = (log_probs.gather(1, action)[:, 0] - old).exp()
        clipped = ratio.clamp(1 - ppo.clip, 1 + ppo.clip)
        gain = torch.minimum(ratio * advantage, clipped * advantage)
        entropy = -(log_probs.exp() * log_probs).sum(1)
        value = torch.nn.functional.cross_entropy(outcome.float(), target)
        total: Tensor = value - gain.mean() - ppo.entropy * entropy.mean()
        return total

    @torch.no_grad()
    def reference_fwd() -> None:
        for _ in range(ppo.rollout_plies):
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                net(acting)

    def reference_upd() -> None:
        for _ in range(_minibatches(settings)):
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                total = loss()
            total.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), ppo.grad_clip)
            optimizer.step()

    return {"reference_fwd": reference_fwd, "reference_upd": reference_upd}


def _learned_plies(settings: "Settings") -> int:
    """Return the number of plies of a rollout that the opponents did not play."""
    plies = settings.env.games * settings.ppo.rollout_plies
    return round(plies * (1 - settings.opponents.share / 2))


def _minibatches(settings: "Settings") -> int:
    """Return the number of minibatches in an epoch."""
    return max(1, round(_learned_plies(settings) / settings.ppo.minibatch))


def _minibatch(settings: "Settings") -> int:
    """Return the number of plies in a minibatch."""
    return round(_learned_plies(settings) / _minibatches(settings))


def _forward_flops(learner: "Learner") -> float:
    """Return the number of floating-point operations of a forward pass for one position."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from keisei.nets.planes import PLANES

    planes = torch.zeros(1, PLANES, 9, 9, device=learner.device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        learner.net(planes)
    return float(counter.get_total_flops())


def _matmul_peak(device: "torch.device", dtype: "torch.dtype") -> float:
    """Return the highest number of floating-point operations per second in six matrix products."""
    import torch

    size = 8192 if device.type == "cuda" else 2048
    # Random numbers, because a GPU multiplies matrices of equal numbers faster than real weights.
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)

    def multiply() -> None:
        torch.mm(a, b, out=out)

    seconds = min(timed(multiply, device) for _ in range(6))
    return 2 * float(size) ** 3 / seconds

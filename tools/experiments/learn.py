#!/usr/bin/env python
"""Train for some minutes, with matches in between; print one JSON line per interval.

    python tools/experiments/learn.py --config configs/quickstart.toml --minutes 10 --every 2.5 \
        --seed 1 --threads 2 --ppo.gamma 0.99

The matches do not count as training time. Any ``--section.key value`` overrides the configuration.
Only the learner and the matches are used: no run directory, no service. ``--until-steps N`` runs to
a step instead of a time. Two flags are for one experiment each: with ``--terminal-value`` the value
head learns from the last ply of a game alone; with ``--muon`` Muon trains the tower's convolutions.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from keisei.cli import process

process.set_up()  # before torch is imported, as for `keisei train`

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from keisei.config import Settings  # noqa: E402
from keisei.evaluation import Match, MatchSpec  # noqa: E402
from keisei.nets.policy import resolve_device, resolve_dtype  # noqa: E402
from keisei.ppo import learner as learning  # noqa: E402
from keisei.ppo import prepare  # noqa: E402
from keisei.ppo.learner import IterationReport, Learner  # noqa: E402
from tools.experiments.mate_probe import positions, probe  # noqa: E402

KEYS = (
    "train/entropy_ratio", "train/kl", "train/clip_fraction", "train/explained_variance",
    "train/return_variance", "train/loss_value", "train/value_base_rate", "train/advantage_rms",
    "train/ratio_error", "train/grad_norm", "games/length", "games/decisive", "games/checkmate",
    "games/declaration", "games/repetition", "games/truncated", "games/black_score",
)  # fmt: skip


def match(learner: Learner, opponent: Any, games: int, *, greedy: bool = False) -> dict[str, Any]:
    """Play a match against ``random`` or ``material``. Return score, counts and how wins ended."""
    trained = learner.settings.env.max_ply
    spec = MatchSpec(opponent, games=games, seed=1, trained_max_ply=(trained, None))
    play, agent = Match(spec), learner.agent.snapshot()
    while (wanted := play.request()) is not None:
        seen = wanted.observation, wanted.mask
        play.answer(*agent.choose(*seen, greedy=greedy, draw=wanted.draw))
    result = play.result()
    counts = [result.wins, result.losses, result.draws, result.capped]
    wins = Counter(game.reason for game in play.played if game.points == 1)
    return {"score": round(result.score, 4), "wldc": counts, "wins": dict(wins)}


def iterate(learner: Learner) -> IterationReport:
    """Run one whole iteration."""
    turns = learner.iterate()
    while True:
        try:
            next(turns)
        except StopIteration as end:
            report: IterationReport = end.value
            return report


def terminal_targets(reward: Tensor, terminated: Tensor, *rest: object) -> Tensor:
    """Replace ``outcome_targets``: only the last position of a game has a target, the result."""
    result = torch.stack((reward.clamp(min=0), 1 - reward.abs(), -reward.clamp(max=0)), -1)
    return result * terminated[..., None]


def muon_optimizer(net: nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """Replace ``make_optimizer``: torch's Muon for the tower's convolutions, AdamW for the rest.

    Muon takes a convolution as a matrix, outputs by inputs times 3 x 3. Its steps are scaled to the
    size of AdamW's, so that both use the same learning rate.
    """
    tower = [p for name, p in net.named_parameters() if name.startswith("tower") and p.dim() == 4]
    ids = {id(p) for p in tower}
    rest = [p for p in net.parameters() if id(p) not in ids]
    adam = torch.optim.AdamW(rest, weight_decay=weight_decay, fused=True)
    # Weights are channels last, so these matrices are views of them.
    matrices = [nn.Parameter(p.detach().permute(0, 2, 3, 1).flatten(1)) for p in tower]
    muon = torch.optim.Muon(matrices, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    def step(*_: object) -> None:
        for matrix, weight in zip(matrices, tower, strict=True):
            assert weight.grad is not None
            assert matrix.data_ptr() == weight.data_ptr()
            matrix.grad = weight.grad.permute(0, 2, 3, 1).flatten(1)
            weight.grad = None
        muon.param_groups[0]["lr"] = adam.param_groups[0]["lr"]
        muon.step()

    adam.register_step_post_hook(step)
    return adam


def arguments() -> tuple[argparse.Namespace, dict[str, str]]:
    """Parse the flags. Return them and the overrides of settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="configs/quickstart.toml")
    parser.add_argument("--minutes", type=float, default=10, help="training time")
    parser.add_argument("--until-steps", type=int, default=0, help="end at this step instead")
    parser.add_argument("--every", type=float, default=2.5, help="minutes between matches")
    parser.add_argument("--games", type=int, default=200, help="games of each match")
    parser.add_argument("--greedy", action="store_true", help="also play the most probable moves")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="torch's threads")
    parser.add_argument("--name", default="", help="label in each printed line")
    parser.add_argument("--terminal-value", action="store_true", help="see above")
    parser.add_argument("--muon", action="store_true", help="see above")
    known, rest = parser.parse_known_args()
    flags = dict(zip(rest[::2], rest[1::2], strict=True))
    return known, {key.removeprefix("--"): value for key, value in flags.items()}


def main() -> None:
    """Train, play matches, print."""
    args, overrides = arguments()
    torch.set_num_threads(args.threads)
    if args.terminal_value:
        prepare.outcome_targets = terminal_targets
    if args.muon:
        learning.make_optimizer = muon_optimizer
    settings = Settings.load(args.config, {"run.seed": args.seed, **overrides})
    device = resolve_device(settings.device)
    learner = Learner(settings, device, resolve_dtype(settings.compute.dtype, device))
    learner.warm_up()
    label = {"name": args.name, "seed": args.seed, "overrides": overrides}
    spent, due = 0.0, args.every * 60
    mates = positions(200, seed=1)
    alerts: list[tuple[str, str]] = []
    while True:
        start = time.perf_counter()
        report = iterate(learner)
        spent += time.perf_counter() - start
        alerts += [(alert.name, alert.message) for alert in report.alerts]
        over = spent >= args.minutes * 60
        if args.until_steps:
            over = learner.step >= args.until_steps
        if spent < due and not over:
            continue
        due += args.every * 60
        line: dict[str, Any] = {**label, "seconds": round(spent), "step": learner.step}
        line["steps_per_second"] = round(learner.step / spent)
        for opponent in ("random", "material"):
            line[opponent] = match(learner, opponent, args.games)
            if args.greedy:
                line[f"{opponent}_greedy"] = match(learner, opponent, args.games, greedy=True)
        line["mate_probe"] = round(probe(learner.agent.snapshot(), mates)["probability"], 4)
        line |= {key: round(report.values[key], 4) for key in KEYS}
        line["alerts"], alerts = alerts, []
        print(json.dumps(line), flush=True)
        if over:
            return


if __name__ == "__main__":
    main()

"""The made-up metrics of a fake run."""

import math
import random


def made_up_metrics(iteration: int, chance: random.Random) -> dict[str, float]:
    """Return an iteration's metrics by name. A network that learns has similar metrics."""
    age = 1 - math.exp(-iteration / 220)
    truncated = max(0.0, 0.62 - 0.55 * age + chance.gauss(0, 0.02))
    declaration = max(0.0, 0.02 + 0.1 * age + chance.gauss(0, 0.012))
    repetition = max(0.0, 0.05 - 0.02 * age + chance.gauss(0, 0.008))
    return {
        "train/loss_policy": -0.02 + chance.gauss(0, 0.004),
        "train/loss_value": 1.06 - 0.42 * age + chance.gauss(0, 0.02),
        "train/entropy": 3.9 - 2.1 * age + chance.gauss(0, 0.03),
        "train/kl": abs(chance.gauss(0.012, 0.003)),
        "train/explained_variance": 0.6 * age + chance.gauss(0, 0.03),
        "games/new": 18.0,
        "games/length": 240 - 110 * age + chance.gauss(0, 4),
        "games/decisive": 1 - truncated - repetition,
        "games/checkmate": max(0.0, 1 - truncated - repetition - declaration),
        "games/repetition": repetition,
        "games/declaration": declaration,
        "games/truncated": truncated,
        "games/black_score": 0.52 + chance.gauss(0, 0.01),
        "speed/steps_per_second": 7100 + chance.gauss(0, 160) - 900 * (chance.random() < 0.03),
    }

"""Computes the settings that change during training."""

from dataclasses import dataclass

from keisei.config import Settings


@dataclass(frozen=True, slots=True)
class Scheduled:
    """Values of the annealed settings at one step."""

    learning_rate: float
    entropy: float
    material: float
    reset_share: float


def scheduled(settings: Settings, step: int) -> Scheduled:
    """Return the annealed settings at ``step``.

    These settings change linearly in the first ``schedule.steps`` steps and then stay constant.
    """
    done = min(1.0, step / settings.schedule.steps)
    ppo, env = settings.ppo, settings.env
    return Scheduled(
        learning_rate=_between(ppo.learning_rate, ppo.learning_rate_final, done),
        entropy=_between(ppo.entropy, ppo.entropy_final, done),
        material=_between(ppo.material, ppo.material_final, done),
        reset_share=_between(env.reset_share, env.reset_share_final, done),
    )


def _between(first: float, last: float, done: float) -> float:
    return first + (last - first) * done

"""Many games of shogi played at once, and players that need no neural network."""

from keisei.env.choose import MOST_LEGAL, legal_lists, material_actions, random_actions
from keisei.env.observe import observe_position, observe_sfen
from keisei.env.vector import Reason, StepResult, VectorEnv
from keisei.shogi.kernels import ACTIONS, GAME, MASK_WORDS, OBSERVATION_BYTES

__all__ = [
    "ACTIONS",
    "GAME",
    "MASK_WORDS",
    "MOST_LEGAL",
    "OBSERVATION_BYTES",
    "Reason",
    "StepResult",
    "VectorEnv",
    "legal_lists",
    "material_actions",
    "observe_position",
    "observe_sfen",
    "random_actions",
]

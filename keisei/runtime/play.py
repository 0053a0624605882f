"""Single moves of the live network, between two turns of training."""

from typing import Any

from keisei.config import Env
from keisei.runtime.players import Player
from keisei.runtime.queues import Question, Reply


def answer(
    agent: Any, env: Env, questions: list[Question]
) -> list[tuple[Reply[str | None], str | Exception | None]]:
    """The replies, and what to settle each with: a move, None (there is none) or an exception."""
    player = Player(agent, max_ply=env.max_ply, declaration=env.declaration)
    return [(question.answer, _move(player, question)) for question in questions]


def _move(player: Player, question: Question) -> str | Exception | None:
    try:
        return player.best_move(question.sfen, question.greedy)
    except Exception as error:  # noqa: BLE001 (it belongs to the one who asked)
        return error

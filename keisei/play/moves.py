"""Single moves of the live network, between two turns of training."""

from typing import Any

from keisei.config import Env
from keisei.play.mailbox import Question, Reply
from keisei.play.players import Player

Answer = tuple[Reply[str | None], str | Exception | None]


def answer(agent: Any, env: Env, questions: list[Question]) -> list[Answer]:
    """The replies, and what to settle each with: a move, None (there is none) or an exception.

    At most two forward passes: one for the greedy answers, one for those that are drawn.
    """
    player = Player(agent, max_ply=env.max_ply, declaration=env.declaration)
    answers: list[Answer] = []
    for greedy in (True, False):
        asked = [question for question in questions if question.greedy == greedy]
        moves: list[Any]
        try:
            moves = list(player.best_moves([q.sfen for q in asked], greedy=greedy))
        except Exception as error:  # noqa: BLE001 (it belongs to those who asked)
            moves = [error] * len(asked)
        answers += [(q.answer, move) for q, move in zip(asked, moves, strict=True)]
    return answers

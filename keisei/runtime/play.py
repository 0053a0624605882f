"""Single moves of the live network, between two turns of training."""

from typing import Any

from keisei.runtime.queues import Question, Reply


def answer(agent: Any, questions: list[Question]) -> list[tuple[Reply[str | None], Any]]:
    """The replies and what to settle them with: a move, None (the game is over) or an exception."""
    if not questions:
        return []
    from keisei.runtime.players import Player

    player = Player(agent)
    answers: list[tuple[Reply[str | None], Any]] = []
    for question in questions:
        try:
            answers.append((question.answer, player.best_move(question.sfen, question.greedy)))
        except Exception as error:  # noqa: BLE001 (it belongs to the one who asked)
            answers.append((question.answer, error))
    return answers

"""Chooses single moves of the network in training, for ``Keisei.choose_move``."""

from typing import Any

from keisei.config import Env
from keisei.play.mailbox import ChosenMove, MoveRequest, Reply
from keisei.play.players import Player

Answer = tuple[Reply[ChosenMove], ChosenMove | Exception]


def choose_moves(agent: Any, env: Env, requests: list[MoveRequest]) -> list[Answer]:
    """Return, for each request, a pair: the request's reply object, and the answer.

    An answer is a chosen move or an exception. The greedy moves are computed in one batch, and the
    sampled moves in another batch.
    """
    player = Player(agent, max_ply=env.max_ply, declaration=env.declaration)
    answers: list[Answer] = []
    for greedy in (True, False):
        group = [request for request in requests if request.greedy == greedy]
        moves: list[Any]
        try:
            moves = list(player.choose([r.position for r in group], greedy=greedy))
        except Exception as error:  # noqa: BLE001 (the requests get the error as their answer)
            moves = [error] * len(group)
        answers += [(r.answer, move) for r, move in zip(group, moves, strict=True)]
    return answers

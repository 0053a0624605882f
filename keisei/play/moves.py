"""Chooses single moves of the network in training, for ``Keisei.choose_move``."""

from typing import Any

from keisei.config import Env
from keisei.match_rules import Mates
from keisei.play.mailbox import ChosenMove, MoveRequest, Reply
from keisei.play.players import Player

Answer = tuple[Reply[ChosenMove], ChosenMove | Exception]


def choose_moves(agent: Any, env: Env, requests: list[MoveRequest]) -> list[Answer]:
    """Return, for each request, a pair: the request's reply object, and the answer.

    An answer is a chosen move or an exception. Requests with equal ``greedy`` and ``mates`` share a
    batch.
    """
    player = Player(agent, max_ply=env.max_ply, declaration=env.declaration)
    groups: dict[tuple[bool, Mates], list[MoveRequest]] = {}
    for request in requests:
        groups.setdefault((request.greedy, request.mates), []).append(request)
    answers: list[Answer] = []
    for (greedy, mates), group in groups.items():
        moves: list[Any]
        try:
            moves = list(player.choose([r.position for r in group], greedy=greedy, mates=mates))
        except Exception as error:  # noqa: BLE001 (the requests get the error as their answer)
            moves = [error] * len(group)
        answers += [(r.answer, move) for r, move in zip(group, moves, strict=True)]
    return answers

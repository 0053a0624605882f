"""Chooses single moves of networks, for ``Keisei.choose_move``."""

from collections.abc import Callable
from typing import Any

from keisei.config import Env
from keisei.nets.policy import Agent
from keisei.play.mailbox import ChosenMove, MoveRequest, Reply
from keisei.play.players import Player

Answer = tuple[Reply[ChosenMove], ChosenMove | Exception]


def choose_moves(
    agents: Callable[[int], Agent], env: Env, requests: list[MoveRequest]
) -> list[Answer]:
    """Return, for each request, a pair: the request's reply object, and the answer.

    An answer is a chosen move or an exception. Requests that differ only in their positions share a
    batch. ``agents`` returns the network with an id.
    """
    groups: dict[tuple[Any, ...], list[MoveRequest]] = {}
    for request in requests:
        how = request.network, request.max_ply, request.greedy, request.temperature, request.mates
        groups.setdefault(how, []).append(request)
    answers: list[Answer] = []
    for group in groups.values():
        moves: list[Any]
        try:
            moves = list(_choose(agents(group[0].network), env, group))
        except Exception as error:  # noqa: BLE001 (the requests get the error as their answer)
            moves = [error] * len(group)
        answers += [(r.answer, move) for r, move in zip(group, moves, strict=True)]
    return answers


def _choose(agent: Agent, env: Env, group: list[MoveRequest]) -> list[ChosenMove]:
    """Return a network's answers to requests that differ only in their positions."""
    first = group[0]
    player = Player(agent, max_ply=first.max_ply or env.max_ply, declaration=env.declaration)
    return player.choose(
        [request.position for request in group],
        greedy=first.greedy,
        mates=first.mates,
        temperature=first.temperature,
    )

"""Single moves of the network in training: many requests, few forward passes."""

from typing import Any

import anyio
import pytest
import torch

from keisei.config import Env
from keisei.nets.policy import Agent
from keisei.nets.registry import build
from keisei.play.mailbox import ChosenMove, MoveRequest
from keisei.play.moves import Answer, choose_moves
from keisei.play.players import Player
from keisei.shogi import Position

MATED = "4k4/4G4/4P4/9/9/9/9/9/4K4 w - 1"
ENTERED = "LNSGKGSNL/1R5B1/PPPPPPPPP/9/9/9/9/9/4k4 b RB 1"
SECOND = "lnsgkgsnl/1r5b1/ppppppppp/9/9/2P6/PP1PPPPPP/1B5R1/LNSGKGSNL w - 2"
ENV = Env(max_ply=300)


@pytest.fixture
def agent() -> Agent:
    net = build("mlp", blocks=1, channels=16, seed=1).eval()
    return Agent(net, torch.device("cpu"), torch.float32)


def answer(agent: Any, *wanted: tuple[Any, ...]) -> list[Answer]:
    """Return the answers in the order of the requests."""

    async def make() -> list[MoveRequest]:  # a reply is made on a loop
        return [MoveRequest(Position(sfen), *how) for sfen, *how in wanted]

    requests = anyio.run(make)
    found = {
        id(reply): (reply, move) for reply, move in choose_moves(lambda _: agent, ENV, requests)
    }
    assert len(found) == len(requests)
    return [found[id(request.answer)] for request in requests]


def test_greedy_and_sampled_moves_are_chosen_in_one_batch_each_and_every_request_gets_its_answer(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = Player(agent, max_ply=ENV.max_ply, declaration=ENV.declaration)
    sfens = ["startpos", MATED, ENTERED, SECOND]
    batches: list[int] = []
    choose = agent.choose

    def counted(observation: Any, mask: Any, **how: Any) -> Any:
        batches.append(len(mask))
        return choose(observation, mask, **how)

    with monkeypatch.context() as patch:
        patch.setattr(agent, "choose", counted)
        found = answer(agent, *((sfen, True) for sfen in sfens), (SECOND, False))
    moves = [chosen.usi for _, chosen in found if isinstance(chosen, ChosenMove)]
    assert batches == [2, 1]
    assert moves[0] == player.best_move("startpos")
    assert moves[1:3] == [None, "win"]
    assert moves[3] == player.best_move(SECOND)
    assert moves[4] in Position(SECOND).legal_moves()


def test_an_error_of_the_network_is_the_answer_to_every_request_of_its_pass(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = agent.choose

    def greedy_fails(observation: Any, mask: Any, *, greedy: bool, **how: Any) -> Any:
        if greedy:
            raise ZeroDivisionError("agent")
        return choose(observation, mask, greedy=greedy, **how)

    monkeypatch.setattr(agent, "choose", greedy_fails)
    found = answer(agent, ("startpos", False), ("startpos", True), (SECOND, True))
    moves = [move for _, move in found]
    assert [type(move) for move in moves[1:]] == [ZeroDivisionError] * 2
    assert isinstance(moves[0], ChosenMove)
    assert moves[0].move in Position().legal_moves()


def test_each_request_says_whether_mates_are_looked_for(agent: Agent) -> None:
    mate_in_one = "4k4/9/4P4/9/9/9/9/4R4/4K4 b RG 1"
    found = answer(agent, (mate_in_one, True), (mate_in_one, True, 0), (mate_in_one, False))
    assert [getattr(move, "mate", None) for _, move in found] == [1, None, 1]


def test_each_request_says_at_which_temperature_its_move_is_sampled(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    choose = agent.choose

    def noted(observation: Any, mask: Any, **how: Any) -> Any:
        asked.append((len(mask), how["temperature"]))
        return choose(observation, mask, **how)

    monkeypatch.setattr(agent, "choose", noted)
    answer(agent, (SECOND, False, 1, 0.5), (SECOND, False, 1, 2.0), ("startpos", False, 1, 0.5))
    assert asked == [(2, 0.5), (1, 2.0)]


def test_each_request_names_its_network_and_an_unknown_one_is_an_error(agent: Agent) -> None:
    async def make() -> list[MoveRequest]:
        return [MoveRequest(Position(), True, network=network) for network in (7, 8)]

    known = {7: agent}
    answers = choose_moves(known.__getitem__, ENV, anyio.run(make))
    (_, move), (_, error) = answers
    assert isinstance(move, ChosenMove)
    assert isinstance(error, KeyError)

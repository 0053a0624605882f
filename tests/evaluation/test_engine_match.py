"""Matches with engines: moves come from outside, the rules end the games, counts add up."""

import pytest
from engine_tools import random_openings

from keisei.evaluation import MatchSpec
from keisei.evaluation.engine_match import EngineMatch, GameInPlay
from keisei.evaluation.game import Opening
from keisei.shogi import IllegalMoveError, Position

UCHIFUZUME = "sfen 8k/9/6NG1/9/9/9/9/9/4K4 b P 1"


def game(opening: str = "startpos", number: int = 0, **more: object) -> GameInPlay:
    spec = MatchSpec("engine", games=2, openings=(Opening.read(opening),), **more)  # type: ignore[arg-type]
    return GameInPlay(spec, number)


def play(game: GameInPlay, *moves: str) -> GameInPlay:
    """Play the moves of both sides."""
    for usi in moves:
        if game.agent_to_move:
            game.play(game._position.action(usi))
        else:
            game.answer(usi)
    return game


def end(game: GameInPlay) -> tuple[str, str, int]:
    played = game.played()
    return played.result, played.reason, played.plies


@pytest.mark.parametrize(
    "text", ["1a1b", "", "7g7f+", "win", "hello", "7G7F", "0000", "7g7f 3c3d", "none"]
)
def test_an_illegal_move_loses(text: str) -> None:
    found = game(number=1)  # the engine is black
    found.answer(text)
    assert found.over
    assert end(found) == ("white", "illegal_move", 0)
    assert found.result_for(agent=False) == "lose"


def test_a_pawn_drop_that_mates_loses() -> None:
    found = play(game(UCHIFUZUME, 1), "P*1b")
    assert end(found) == ("white", "illegal_move", 0)
    assert found.played().record() == UCHIFUZUME


def test_an_engine_that_resigns_loses() -> None:
    found = play(game(), "7g7f", "resign")
    assert end(found) == ("black", "resignation", 1)
    assert found.played().record() == "startpos moves 7g7f"


def test_a_network_without_hope_resigns_against_an_engine_too() -> None:
    game = GameInPlay(MatchSpec("engine", games=2, resign=-0.9), 0)
    values = iter([-0.95, -0.5, -0.95, -0.95, -0.95])
    while not game.over:
        move = Position.action(game._position, game._position.legal_moves()[0])
        game.play(move, next(values)) if game.agent_to_move else game.play(move)
    played = game.played()
    assert (played.result, played.reason, played.plies) == ("white", "resignation", 8)


def test_games_end_by_the_rules() -> None:
    mate = play(game("sfen 4k4/9/4G4/9/9/9/9/9/4K4 b G 1", 1), "G*5b")
    assert end(mate) == ("black", "checkmate", 1)
    assert mate.result_for(agent=False) == "win"
    repeated = play(game(), *["2h3h", "8b7b", "3h2h", "7b8b"] * 3)
    assert end(repeated) == ("draw", "repetition", 12)
    assert repeated.result_for(agent=True) == "draw"
    start = "sfen 9/9/9/9/R8/8k/9/9/4K4 b - 1"
    checked = play(game(start), *["9e9f", "1f1e", "9f9e", "1e1f"] * 3)
    assert end(checked) == ("white", "perpetual_check", 12)
    near = "sfen 4K4/PPPPPPPPP/RB7/9/9/9/9/9/3k5 w 2G7P 1"
    assert end(play(game(near), "6i5i")) == ("black", "declaration", 1)
    assert not play(game(near, declaration="none"), "6i5i").over
    capped = play(game("startpos moves 7g7f", max_ply=3), "3c3d", "2g2f")
    assert end(capped) == ("capped", "max_ply", 3)


MATE_IN_ONE = "sfen 4k4/9/4P4/9/9/9/9/4R4/4K4 b RG 1"


def test_a_network_plays_a_mate_in_one_against_an_engine() -> None:
    found = game(MATE_IN_ONE)
    assert found.play_mate()
    assert end(found) == ("black", "checkmate", 1)
    assert found.played().values.tolist() == [1]


def test_a_mate_in_three_is_played_only_if_the_maximum_ply_leaves_room() -> None:
    start = "sfen ln2g3l/2s1g2s1/5knS1/p5R1p/1ppp3n1/P3+p3P/2Rg3PL/4l4/g+b1K1s1N1 w BP8p 1"
    assert game(start, mates=3, max_ply=3).play_mate()
    assert not game(start, mates=3, max_ply=2).play_mate()
    assert not game(start, mates=1).play_mate()


def test_a_network_is_asked_if_there_is_no_mate_or_if_mates_are_not_looked_for() -> None:
    for found in (game(), game(MATE_IN_ONE, mates=0)):
        assert not found.play_mate()
        assert found.moves.endswith(found._start)
        assert not found.over


def test_the_agents_move_must_be_legal() -> None:
    with pytest.raises(IllegalMoveError):
        game().play(0)


def test_openings_are_part_of_the_game() -> None:
    opening = (
        "position sfen lnsgkgsnl/1r5b1/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL w - 1 moves 3c3d"
    )
    found = play(game(opening, max_ply=2), "7g7f")
    played = found.played()
    assert (played.agent, played.plies, played.result) == ("black", 2, "capped")
    record = opening.removeprefix("position ") + " 7g7f"
    assert found.moves == record == played.record()


def test_each_opening_is_played_from_both_seats_and_faults_are_replayed() -> None:
    match = EngineMatch(MatchSpec("engine", games=6, openings=random_openings(2)))
    seen, broken = [], False
    while (one := match.begin()) is not None:
        if one.number == 2 and not broken:
            broken = True
            match.fault(one, "crash")
            continue
        with pytest.raises(RuntimeError, match="not over"):
            match.finish(one)
        one._end = ("black", "resignation")
        match.finish(one)
        seen.append((one.number, one.agent, one.moves))
    assert [number for number, _, _ in seen] == [0, 1, 2, 3, 4, 5]
    assert [agent for _, agent, _ in seen] == ["black", "white"] * 3
    openings = [moves for _, _, moves in seen]
    assert openings[0] == openings[1] == openings[4] == openings[5]
    assert openings[2] == openings[3] != openings[0]
    assert match.faults == {"timeout": 0, "crash": 1}
    assert (len(match.played), match.result().score) == (6, 0.5)
    assert match.result().by_reason["wins"] == {"resignation": 3}

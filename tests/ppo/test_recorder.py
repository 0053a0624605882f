"""Recorded self-play games."""

from keisei.shogi import Position

from .small_learner import iterate, learner


def test_recorded_games_replay_to_their_end() -> None:
    one = learner()
    games = [game for _ in range(8) for game in iterate(one).games]
    assert games
    assert all(game.number % 2 == 0 for game in games)
    assert len({game.number for game in games}) == len(games)
    for game in games:
        start, _, moves = game.record.removeprefix("sfen ").partition(" moves ")
        position = Position(start)
        for move in moves.split():
            position.push(move)
        outcome = position.outcome()
        if game.result == "capped":
            assert (game.reason, game.plies) == ("max_ply", 48)
        else:
            assert outcome is not None
            assert (outcome.reason, outcome.winner or "draw") == (game.reason, game.result)

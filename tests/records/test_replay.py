"""Replayed games give the positions that the environment shows."""

from typing import Any

import numpy as np
import pytest

from keisei.records import DRAW, LOSS, UNKNOWN, WIN, GameRecord, Positions, RecordError, replay
from keisei.shogi import START_SFEN

MAX_PLY = 256


def game(moves: str, winner: Any = None, start: str = START_SFEN) -> GameRecord:
    return GameRecord(start, tuple(moves.split()), winner, "unknown", "a.usi:1")


def records(played: Any) -> list[GameRecord]:
    return [game(" ".join(one.moves)) for one in played]


def test_positions_are_what_the_environment_shows(played: Any) -> None:
    found = replay(records(played), max_ply=MAX_PLY)
    assert len(found) == sum(len(one.moves) for one in played)
    for name in ("observation", "mask"):
        expected = np.concatenate([getattr(one, name) for one in played])
        np.testing.assert_array_equal(getattr(found, name), expected)
    np.testing.assert_array_equal(found.action, np.concatenate([one.actions for one in played]))


def test_the_rules_decide_where_a_record_names_no_winner(played: Any) -> None:
    expected = []
    for one in played:
        for ply in range(len(one.moves)):
            seen_by_mover = one.winner * (-1 if ply % 2 else 1)
            expected.append({1: WIN, -1: LOSS, 0: UNKNOWN}[seen_by_mover])
    found = replay(records(played), max_ply=MAX_PLY).outcome
    assert set(expected) == {WIN, LOSS, UNKNOWN}
    # A repetition would be a draw, but these 300 random games have none.
    np.testing.assert_array_equal(found, expected)


CYCLE = "2h3h 8b7b 3h2h 7b8b"


@pytest.mark.parametrize(
    ("record", "outcomes"),
    [
        (game("7g7f 3c3d 2g2f", "black"), [WIN, LOSS, WIN]),
        (game("7g7f 3c3d 2g2f", "white"), [LOSS, WIN, LOSS]),
        (game("7g7f 3c3d", "draw"), [DRAW, DRAW]),
        (game("7g7f 3c3d"), [UNKNOWN, UNKNOWN]),
        (game(f"{CYCLE} {CYCLE} {CYCLE}"), [DRAW] * 12),
        (game(f"{CYCLE} {CYCLE}"), [UNKNOWN] * 8),
        (game("G*5b", start="4k4/9/4P4/9/9/9/9/9/4K4 b G 1"), [WIN]),
        (game("5a5b 5i5h", "white", "4k4/9/9/9/9/9/9/9/4K4 w - 1"), [WIN, LOSS]),
        (
            game(" ".join(["9e9f 1f1e 9f9e 1e1f"] * 3), start="9/9/9/9/R8/8k/9/9/4K4 b - 1"),
            [LOSS, WIN] * 6,
        ),
    ],
)
def test_outcomes_are_in_the_view_of_the_mover(record: GameRecord, outcomes: list[int]) -> None:
    assert replay([record], max_ply=MAX_PLY).outcome.tolist() == outcomes


def rows_of(positions: Positions) -> set[bytes]:
    """Return the bytes of each position: observation, mask, action and outcome."""
    arrays = positions.observation, positions.mask, positions.action, positions.outcome
    return {b"".join(array[i].tobytes() for array in arrays) for i in range(len(positions))}


def test_a_limit_draws_from_all_games(played: Any) -> None:
    games = records(played)
    everything = replay(games, max_ply=MAX_PLY)
    some = replay(games, max_ply=MAX_PLY, limit=1000, seed=3)
    assert len(some) == 1000
    assert rows_of(some) <= rows_of(everything)
    # Early and late positions are among them.
    assert some.observation[:, 97].min() == 0
    assert some.observation[:, 97].max() > 200
    again = replay(games, max_ply=MAX_PLY, limit=1000, seed=3)
    np.testing.assert_array_equal(some.observation, again.observation)
    np.testing.assert_array_equal(some.outcome, again.outcome)
    other = replay(games, max_ply=MAX_PLY, limit=1000, seed=4)
    assert (some.observation != other.observation).any()


def test_a_position_takes_414_bytes(played: Any) -> None:
    found = replay(records(played[:5]), max_ply=MAX_PLY)
    arrays = found.observation, found.mask, found.action, found.outcome
    assert sum(array.nbytes for array in arrays) == 414 * len(found)


def test_an_illegal_move_names_game_and_ply() -> None:
    with pytest.raises(RecordError, match=r"a\.usi:1: ply 2: 7g7e is not legal"):
        replay([game("2g2f 3c3d 2f2e"), game("7g7f 7g7e")], max_ply=MAX_PLY)


def test_no_games_give_no_positions() -> None:
    assert len(replay([], max_ply=MAX_PLY)) == 0

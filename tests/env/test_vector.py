"""VectorEnv: games, observations and results as training sees them."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from keisei.env import MASK_WORDS, Reason, StepResult, VectorEnv, random_actions
from keisei.shogi import START_SFEN, Position

PIECES = "PLNSBRGK"
HANDS = "PLNSGBR"
WHITE_BEFORE_28 = (
    "4K4/PPPPPPPPP/RB7/9/9/9/9/9/4k4 w 2G7P 1"  # after white's move black has 28 points
)
WHITE_BEFORE_31 = "4K4/PPPPPPPPP/RB7/9/9/9/9/9/4k4 w R4G3P 1"


def small(games: int = 8, **options: Any) -> VectorEnv:
    return VectorEnv(games, **{"reset_pool": 0, **options})


def placed(*sfens: str, **options: Any) -> VectorEnv:
    """Return an environment whose games start at these positions."""
    env = small(len(sfens), **options)
    env.start_from(sfens)
    return env


def move(env: VectorEnv, *usis: str) -> StepResult:
    return env.step(np.array([Position(env.sfen(g)).action(u) for g, u in enumerate(usis)]))


def play(env: VectorEnv, steps: int, seed: int = 1) -> None:
    rng = np.array([seed], np.uint64)
    for _ in range(steps):
        env.step(random_actions(env.mask, rng))


def same(one: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def expected_mask(position: Position) -> list[int]:
    words = [0] * MASK_WORDS
    for usi in position.legal_moves():
        action = position.action(usi)
        words[action // 64] |= 1 << action % 64
    return words


def expected_observation(sfen: str) -> list[int]:
    """Return board and hands of the compact observation, made from an SFEN in a slow way."""
    board, side, hands, _ = sfen.split()
    mine = str.isupper if side == "b" else str.islower
    squares = [0] * 81
    for rank, row in enumerate(board.split("/")):
        file, promoted = 9, 0
        for letter in row:
            if letter == "+":
                promoted = 8
            elif letter.isdigit():
                file -= int(letter)
            else:
                square = (file - 1) * 9 + rank
                code = PIECES.index(letter.upper()) + 1 + promoted
                squares[square if side == "b" else 80 - square] = code + 14 * (not mine(letter))
                file, promoted = file - 1, 0
    held = [0] * 14
    number = ""
    for letter in hands.replace("-", ""):
        if letter.isdigit():
            number += letter
        else:
            held[HANDS.index(letter.upper()) + 7 * (not mine(letter))] = int(number or 1)
            number = ""
    return squares + held


def test_new_games_begin_at_the_usual_start() -> None:
    env = small(3)
    assert env.game_number.tolist() == [0, 1, 2]
    assert [env.sfen(g) for g in range(3)] == [START_SFEN] * 3 == [env.start_sfen(0)] * 3
    assert env.mask[2].tolist() == expected_mask(Position())
    assert env.observation[1, :98].tolist() == [*expected_observation(START_SFEN), 0, 0, 0]
    assert not env.games["opponent"].any()


def test_observation_and_mask_follow_the_games() -> None:
    env = small(6, max_ply=100)
    rng = np.array([4], np.uint64)
    for _ in range(140):
        env.step(random_actions(env.mask, rng))
        for g in range(6):
            position = Position(env.sfen(g))
            assert env.mask[g].tolist() == expected_mask(position)
            observation = env.observation[g].tolist()
            assert observation[:95] == expected_observation(env.sfen(g))
            assert observation[96] == position.in_check
            assert observation[97] == int(env.games[g]["ply"]) * 255 // 100


def test_an_illegal_action_is_named_and_changes_nothing() -> None:
    env = small(3)
    before = env.state()
    actions = random_actions(env.mask, np.array([1], np.uint64)).astype(np.int64)
    for bad in (2186, -1, 2187, 10**9):
        actions[2] = bad
        with pytest.raises(ValueError, match=rf"action {bad} is not legal in game 2: {START_SFEN}"):
            env.step(actions)
    with pytest.raises(ValueError, match=r"shape \(2,\), not \(3,\)"):
        env.step(actions[:2])
    assert same(env.state(), before)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64])
def test_actions_may_have_any_integer_type(dtype: type) -> None:
    env = small(2)
    env.step(np.array([Position().action("7g7f")] * 2, dtype))
    assert env.sfen(1).startswith("lnsgkgsnl/1r5b1/ppppppppp/9/9/2P6/")


def test_truncation_is_not_a_draw() -> None:
    env = small(4, max_ply=10)
    play(env, 9)
    rng = np.array([9], np.uint64)
    result = env.step(random_actions(env.mask, rng))
    assert result.truncated.all()
    assert not result.terminated.any()
    assert (result.reason == Reason.MAX_PLY).all()
    assert Reason(result.reason[0]).label == "max_ply"
    assert not result.reward.any()
    assert not result.winner.any()
    assert result.plies.tolist() == [10] * 4
    assert result.number.tolist() == [0, 1, 2, 3]
    assert (result.final_observation[:, 97] == 255).all()
    assert (result.final_observation != env.observation).any()
    assert [env.sfen(g) for g in range(4)] == [START_SFEN] * 4
    assert env.mask[0].tolist() == expected_mask(Position())
    assert env.game_number.tolist() == [4, 5, 6, 7]


def test_final_observation_is_the_position_after_the_last_move() -> None:
    env = placed("4k4/9/4P4/9/9/9/9/9/4K4 b G 1", max_ply=50)
    result = move(env, "G*5b")
    expected = expected_observation("4k4/4G4/4P4/9/9/9/9/9/4K4 w - 2")
    assert result.final_observation[0, :98].tolist() == [*expected, 0, 1, 255 // 50]


def test_mate_wins_for_the_mover() -> None:
    mate = "4k4/9/4P4/9/9/9/9/9/4K4 b G 1"
    twin = "4k4/9/9/9/9/9/4p4/9/4K4 w g 1"
    result = move(placed(mate, twin, max_ply=1), "G*5b", "G*5h")
    assert result.reward.tolist() == [1, 1]
    assert result.winner.tolist() == [1, -1]
    assert result.terminated.all()
    assert not result.truncated.any()  # the rules come before the cap
    assert (result.reason == Reason.CHECKMATE).all()


MATE_IN_ONE = "4k4/9/4P4/9/9/9/9/9/4K4 b G 1"
MATE_IN_THREE = "5k3/9/5G3/6+R2/9/9/9/9/4K4 b - 1"


def test_a_proven_mate_is_shown_as_an_action() -> None:
    env = placed(MATE_IN_ONE, MATE_IN_THREE, START_SFEN, mates=1)
    assert env.mate[0] == Position(MATE_IN_ONE).action("G*5b")
    assert env.mate[1:].tolist() == [-1, -1]
    assert env.step_some(env.mate).reason.tolist()[0] == Reason.CHECKMATE
    assert env.mate.tolist() == [-1, -1, -1], "a new game has begun"


def test_a_mate_in_three_is_played_to_its_end() -> None:
    env = placed(MATE_IN_THREE, mates=3)
    assert env.mate[0] == Position(MATE_IN_THREE).action("3d3b")
    env.step(env.mate)
    assert env.mate[0] == -1
    play(env, 1)
    assert env.step(env.mate).reason[0] == Reason.CHECKMATE


@pytest.mark.parametrize(("max_ply", "found"), [(1, False), (2, False), (3, True)])
def test_a_mate_that_the_maximum_ply_cuts_is_no_mate(max_ply: int, found: bool) -> None:
    env = placed(MATE_IN_THREE, MATE_IN_ONE, mates=3, max_ply=max_ply)
    assert (env.mate >= 0).tolist() == [found, True]
    assert env.step_some(np.array([-1, env.mate[1]])).reason[1] == Reason.CHECKMATE


def test_without_a_search_no_mate_is_shown() -> None:
    env = placed(MATE_IN_ONE)
    assert env.mate.tolist() == [-1]
    for mates, found in ((1, True), (0, False)):
        env.mates = mates
        env.update_mates()
        assert (env.mate[0] >= 0) == found


def test_no_legal_move_loses() -> None:
    env = placed("8k/6+R2/9/9/9/9/9/9/4K4 b - 1")
    before = Position(env.sfen(0))
    stalemate = next(m for m in before.legal_moves() if leaves_no_moves(before, m))
    result = move(env, stalemate)
    assert result.reward[0] == 1
    assert result.reason[0] == Reason.NO_MOVES


def leaves_no_moves(position: Position, usi: str) -> bool:
    after = position.copy()
    after.push(usi)
    return not after.legal_moves() and not after.in_check


def test_repetition_is_a_draw_at_the_fourth_time() -> None:
    env = small(1)
    for ply, usi in enumerate(("2h3h", "8b7b", "3h2h", "7b8b") * 3, start=1):
        result = move(env, usi)
        if ply < 12:
            assert not result.terminated[0]
            assert env.observation[0, 95] == ply // 4
    assert result.terminated[0]
    assert result.reason[0] == Reason.REPETITION
    assert (result.reward[0], result.winner[0]) == (0, 0)
    assert result.final_observation[0, 95] == 3
    assert env.observation[0, 95] == 0
    assert env.sfen(0) == START_SFEN


@pytest.mark.parametrize(
    ("sfen", "cycle", "loser"),
    [
        ("9/9/9/9/R8/8k/9/9/4K4 b - 1", ("9e9f", "1f1e", "9f9e", "1e1f"), "black"),
        ("4k4/9/9/K8/8r/9/9/9/9 w - 1", ("1e1d", "9d9e", "1d1e", "9e9d"), "white"),
        # the same, but the checking side makes the move to the fourth occurrence
        ("9/9/9/9/9/R7k/9/9/4K4 w - 1", ("1f1e", "9f9e", "1e1f", "9e9f"), "black"),
    ],
)
def test_perpetual_check_loses(sfen: str, cycle: tuple[str, ...], loser: str) -> None:
    env = placed(sfen)
    plies = 0
    while True:
        mover = Position(env.sfen(0)).side
        result = move(env, cycle[plies % 4])
        plies += 1
        if result.terminated[0]:
            break
    assert plies == 12
    assert result.reason[0] == Reason.PERPETUAL_CHECK
    assert result.winner[0] == (-1 if loser == "black" else 1)
    assert result.reward[0] == (-1 if mover == loser else 1)


@pytest.mark.parametrize(
    ("rule", "sfen", "ends"),
    [
        ("27", WHITE_BEFORE_28, True),
        ("27", WHITE_BEFORE_28.replace("2G7P", "G7P"), False),
        ("24", WHITE_BEFORE_28, False),  # this would only draw, and such declarations are not made
        ("24", WHITE_BEFORE_31, True),
        ("none", WHITE_BEFORE_31, False),
    ],
)
def test_declaration_ends_the_game(rule: Any, sfen: str, ends: bool) -> None:
    result = move(placed(sfen, declaration=rule), "5i4i")
    assert result.terminated[0] == ends
    if ends:
        assert result.reason[0] == Reason.DECLARATION
        assert (result.reward[0], result.winner[0]) == (-1, 1)


def test_game_numbers_are_unique() -> None:
    env = small(5, max_ply=7)
    seen: list[int] = []
    rng = np.array([2], np.uint64)
    for _ in range(40):
        result = env.step(random_actions(env.mask, rng))
        seen += result.number[result.terminated | result.truncated].tolist()
    assert len(seen) == len(set(seen)) >= 20
    assert set(seen).isdisjoint(env.game_number.tolist())


def test_stagger_spreads_the_games() -> None:
    env, twin = (small(64, max_ply=100, seed=5) for _ in range(2))
    env.stagger()
    assert 0 <= env.games["ply"].min() < 10
    assert 40 < env.games["ply"].max() <= 50
    assert env.mask[3].tolist() == expected_mask(Position(env.sfen(3)))
    twin.stagger()
    assert same(env.state(), twin.state())


def test_games_start_from_the_pool_at_a_reset_share_of_one() -> None:
    env = VectorEnv(8, max_ply=3, reset_share=1.0, reset_depth=40, reset_pool=50)
    assert env.start_sfen(0) == START_SFEN
    play(env, 3)
    starts = [env.start_sfen(g) for g in range(8)]
    assert len(set(starts)) > 5
    assert [env.sfen(g) for g in range(8)] == starts
    assert not env.games["ply"].any()
    for sfen in starts:
        assert sfen.endswith(" 1")
        assert Position(sfen).outcome() is None
    env.reset_share = 0.0
    play(env, 3)
    assert [env.sfen(g) for g in range(8)] == [START_SFEN] * 8


def test_reset_share_is_a_probability() -> None:
    env = VectorEnv(400, max_ply=1, reset_share=0.25, reset_depth=30, reset_pool=64)
    play(env, 1)
    pooled = sum(env.start_sfen(g) != START_SFEN for g in range(400))
    assert 60 < pooled < 140


def test_a_refill_draws_other_positions() -> None:
    env = VectorEnv(1, reset_depth=40, reset_pool=20)
    before = env.state()["pool"]
    env.refill_reset_pool()
    assert not np.array_equal(before, env.state()["pool"])


def test_continuation_after_load_is_bit_identical() -> None:
    options: dict[str, Any] = {
        "max_ply": 40,
        "reset_depth": 30,
        "reset_pool": 16,
        "reset_share": 0.5,
    }
    env = VectorEnv(8, seed=1, **options)
    play(env, 70)
    saved = env.state()
    twin = VectorEnv(8, seed=2, **options)
    twin.load_state(saved)
    assert twin.reset_share == 0.5
    for one in (env, twin):
        play(one, 50, seed=9)
        one.refill_reset_pool()
        one.stagger()
        play(one, 50, seed=10)
    assert same(env.state(), twin.state())
    assert all(a.flags.c_contiguous and a.dtype.names is None for a in saved.values())


def test_a_loaded_state_has_the_mates_of_the_saved_one() -> None:
    env, other = placed(START_SFEN, MATE_IN_ONE, mates=1), small(2, mates=1)
    other.load_state(env.state())
    assert (other.mate >= 0).tolist() == [False, True]
    assert np.array_equal(other.mate, env.mate)
    assert "mate" not in env.state()


def test_load_refuses_a_state_of_another_shape() -> None:
    env = small(4)
    before = env.state()
    with pytest.raises(ValueError, match=r"state\['games'\] is uint8\[3, 128\], not uint8\[4"):
        env.load_state(small(3).state())
    with pytest.raises(ValueError, match="state has the arrays"):
        env.load_state({})
    assert same(env.state(), before)


def test_results_depend_on_the_seed_and_not_on_threads() -> None:
    def run(seed: int, threads: int) -> dict[str, NDArray[Any]]:
        with VectorEnv(
            50, seed=seed, threads=threads, max_ply=250, reset_share=0.9, reset_pool=32, mates=3
        ) as env:
            env.stagger()
            play(env, 60)
            return env.state() | {"mate": env.mate}

    alone = run(1, 1)
    assert same(alone, run(1, 1))
    assert same(alone, run(1, 3))
    assert not same(alone, run(2, 1))


@pytest.mark.parametrize(
    "options",
    [{"games": 0}, {"max_ply": 0}, {"threads": 0}, {"declaration": "28"}, {"mates": 2}],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"out of range|'28'|not 0, 1 or 3"):
        VectorEnv(**{"games": 1, "reset_pool": 0, **options})


def test_an_opponent_stays_for_the_game_and_is_cleared_by_a_reset() -> None:
    env = small(2, max_ply=5)
    env.games["opponent"] = 3
    play(env, 4)
    assert env.games["opponent"].tolist() == [3, 3]
    play(env, 1)
    assert env.games["opponent"].tolist() == [0, 0]

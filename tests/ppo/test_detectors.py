"""Each detector provoked once, and quiet on healthy values."""

import pytest

from keisei.ppo.detectors import WINDOW, Detectors, DivergedError, Values

HEALTHY = {
    "train/skipped": 0.0,
    "train/skipped_in_a_row": 0.0,
    "train/ratio_error": 1e-6,
    "train/entropy_ratio": 0.5,
    "train/value_unseen": 1.0,
    "train/value_base_rate": 1.05,
    "train/explained_variance": 0.6,
    "train/return_variance": 0.1,
    "games/repetition": 0.05,
    "games/declaration": 0.3,
    "games/truncated": 0.3,
    "games/black_wins": 210.0,
    "games/white_wins": 200.0,
}


def names(detectors: Detectors, values: Values, times: int = 1) -> list[str]:
    return [alert.name for _ in range(times) for alert in detectors.look(values)]


def test_healthy_values_raise_nothing() -> None:
    assert names(Detectors("float32"), HEALTHY, 3 * WINDOW) == []


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("entropy_collapse", {"train/entropy_ratio": 0.02}),
        ("entropy_swamp", {"train/entropy_ratio": 0.85}),
        ("draws", {"games/repetition": 0.4}),
        ("declarations", {"games/declaration": 0.9}),
        ("truncation", {"games/truncated": 0.8}),
        ("value_useless", {"train/value_unseen": 1.2}),
        ("explained_variance", {"train/explained_variance": -0.5}),
        ("first_mover", {"games/black_wins": 300.0, "games/white_wins": 60.0}),
        ("first_mover", {"games/black_wins": 60.0, "games/white_wins": 300.0}),
    ],
)
def test_a_trouble_is_told_once_when_it_begins_and_again_when_it_returns(
    name: str, changed: Values
) -> None:
    detectors = Detectors("float32")
    assert names(detectors, HEALTHY, WINDOW) == []
    assert names(detectors, HEALTHY | changed, 2 * WINDOW) == [name]
    assert name not in names(detectors, HEALTHY, 2 * WINDOW)
    assert names(detectors, HEALTHY | changed, 2 * WINDOW).count(name) == 1


def test_no_games_and_no_variance_are_no_trouble() -> None:
    nan = float("nan")
    empty = {key: nan for key in HEALTHY if key.startswith("games/")}
    quiet = {"train/explained_variance": -3.0, "train/return_variance": 1e-4}
    assert names(Detectors("float32"), HEALTHY | empty | quiet, 2 * WINDOW) == []


def test_the_ratio_is_judged_by_the_precision() -> None:
    off = HEALTHY | {"train/ratio_error": 5e-3}
    assert names(Detectors("float32"), off) == ["ratio"]
    assert names(Detectors("bfloat16"), off) == []


def test_skipped_minibatches_are_told_and_ten_in_a_row_end_the_run() -> None:
    detectors = Detectors("float32")
    bad = HEALTHY | {"train/skipped": 9.0, "train/skipped_in_a_row": 9.0}
    assert names(detectors, bad) == ["nonfinite"]
    with pytest.raises(DivergedError, match="10 minibatches in a row had no finite loss"):
        detectors.look(bad | {"train/skipped_in_a_row": 10.0})

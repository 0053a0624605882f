"""Each detector finds its problem, and none on healthy values."""

import json

import pytest

from keisei.config import DetectorSettings
from keisei.ppo.detectors import WINDOW, Detectors, DivergedError, Values

SETTINGS = DetectorSettings()
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
    return [alert.name for _ in range(times) for alert in detectors.check(values)]


def test_healthy_values_raise_nothing() -> None:
    assert names(Detectors("float32", SETTINGS), HEALTHY, 3 * WINDOW) == []


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
def test_a_problem_is_reported_once_when_it_begins_and_again_when_it_returns(
    name: str, changed: Values
) -> None:
    detectors = Detectors("float32", SETTINGS)
    assert names(detectors, HEALTHY, WINDOW) == []
    assert names(detectors, HEALTHY | changed, 2 * WINDOW) == [name]
    assert name not in names(detectors, HEALTHY, 2 * WINDOW)
    assert names(detectors, HEALTHY | changed, 2 * WINDOW).count(name) == 1


def test_no_games_and_no_variance_are_no_problem() -> None:
    nan = float("nan")
    empty = {key: nan for key in HEALTHY if key.startswith("games/")}
    quiet = {"train/explained_variance": -3.0, "train/return_variance": 1e-4}
    assert names(Detectors("float32", SETTINGS), HEALTHY | empty | quiet, 2 * WINDOW) == []


def test_the_ratio_is_judged_by_the_precision() -> None:
    off = HEALTHY | {"train/ratio_error": 5e-3}
    assert names(Detectors("float32", SETTINGS), off) == ["ratio"]
    assert names(Detectors("bfloat16", SETTINGS), off) == []


def test_skipped_minibatches_are_reported_and_ten_in_a_row_end_the_run() -> None:
    detectors = Detectors("float32", SETTINGS)
    bad = HEALTHY | {"train/skipped": 9.0, "train/skipped_in_a_row": 9.0}
    assert names(detectors, bad) == ["nonfinite"]
    worse = bad | {"train/skipped_in_a_row": 10.0}
    with pytest.raises(
        DivergedError, match="10 minibatches in a row were skipped: loss or gradient not finite"
    ):
        detectors.check(worse)
    forgiving = Detectors("float32", DetectorSettings(nonfinite="rollback"))
    assert [alert.reaction for alert in forgiving.check(worse)] == ["rollback"]


def test_a_rollback_may_go_back_to_weights_without_problems_only() -> None:
    detectors = Detectors("float32", DetectorSettings(draws="rollback"))
    assert detectors.quiet
    drawn, declared = {"games/repetition": 0.4}, {"games/declaration": 0.9}
    names(detectors, HEALTHY | declared, WINDOW)
    assert detectors.quiet, "an alert asks for nothing more"
    names(detectors, HEALTHY | drawn, WINDOW)
    assert not detectors.quiet
    detectors.reset()
    names(detectors, HEALTHY, WINDOW - 1)
    assert not detectors.quiet, "WINDOW iterations have not passed yet"
    resumed = Detectors("float32", DetectorSettings(draws="rollback"))
    resumed.load_state(json.loads(json.dumps(detectors.state())))
    assert not resumed.quiet
    names(resumed, HEALTHY)
    assert resumed.quiet
    names(resumed, HEALTHY | {"train/ratio_error": 1.0})
    assert not resumed.quiet, "a wrong number"


def test_the_settings_choose_what_is_reported_and_the_reaction() -> None:
    wrong = HEALTHY | {"train/ratio_error": 1.0, "train/skipped": 1.0}
    asked = DetectorSettings(ratio="ignore", nonfinite="rollback")
    (alert,) = Detectors("float32", asked).check(wrong)
    assert (alert.name, alert.reaction) == ("nonfinite", "rollback")


def test_every_detector_has_a_setting() -> None:
    from keisei.ppo.detectors import _DETECTORS

    names = {detector.name for detector in _DETECTORS} | {"ratio", "nonfinite"}
    assert {*DetectorSettings.model_fields} == names | {"nonfinite_stop", "rollbacks"}


def test_a_resumed_run_remembers_what_its_detectors_saw() -> None:
    first = Detectors("float32", SETTINGS)
    names(first, HEALTHY, WINDOW)
    names(first, HEALTHY | {"games/repetition": 0.9}, 5)
    second = Detectors("float32", SETTINGS)
    second.load_state(json.loads(json.dumps(first.state())))
    worse = HEALTHY | {"games/repetition": 0.9}
    assert names(first, worse, WINDOW) == names(second, worse, WINDOW)
    assert first.quiet == second.quiet

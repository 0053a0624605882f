"""How much of a run is done, and how long it still takes."""

import pytest

from keisei.cli.forecast import Forecast
from keisei.config import Settings
from keisei.events import Iteration


def after(settings: dict[str, float], *seen: tuple[float, int]) -> Forecast:
    chosen = Settings.load(None, settings)
    forecast = Forecast(lambda: chosen)
    for time, step in seen:
        forecast.see(Iteration(run="r", step=step, time=time, iteration=1, values={}))
    return forecast


@pytest.mark.parametrize(
    ("settings", "share", "left"),
    [
        ({}, None, None),
        ({"run.steps": 1000}, 0.3, 70.0),
        ({"run.minutes": 1}, 1 / 3, 40.0),
        ({"run.minutes": 1, "run.steps": 1000}, 1 / 3, 40.0),
        ({"run.minutes": 5, "run.steps": 1000}, 0.3, 70.0),
        ({"run.steps": 200}, 1.0, 0.0),
    ],
)
def test_the_nearer_limit_gives_share_and_time_left(
    settings: dict[str, float], share: float | None, left: float | None
) -> None:
    forecast = after(settings, (100.0, 100), (120.0, 300))
    assert forecast.share == (None if share is None else pytest.approx(share))
    assert forecast.seconds_left == (None if left is None else pytest.approx(left))


def test_a_single_iteration_does_not_tell_the_speed() -> None:
    forecast = after({"run.steps": 1000}, (100.0, 100))
    assert (forecast.share, forecast.seconds_left) == (0.1, None)


def test_a_resumed_run_counts_only_its_own_speed() -> None:
    forecast = after({"run.steps": 1_000_000}, (50.0, 900_000), (60.0, 910_000))
    assert forecast.seconds_left == pytest.approx(90.0)

"""Events are counted for monitoring systems."""

from keisei.events import Alert, Iteration
from keisei.runtime.telemetry import Telemetry


def iteration(step: int, speed: float) -> Iteration:
    values = {"speed/steps_per_second": speed, "games/new": 3.0}
    return Iteration(run="run", step=step, time=0.0, iteration=1, values=values)


def test_iterations_are_timed_by_their_steps_and_speed() -> None:
    telemetry = Telemetry(step=1000)
    telemetry.update(iteration(1400, 100.0))
    telemetry.update(iteration(1600, 100.0))
    assert telemetry.iteration_seconds.sum == 6.0
    assert dict(telemetry.iteration_seconds.cumulative())["2.5"] == 1
    assert telemetry.games == 6
    assert telemetry.values["games/new"] == 3


def test_alerts_are_counted_by_level() -> None:
    telemetry = Telemetry(step=0)
    for level in ("warning", "error", "warning"):
        telemetry.update(Alert(run="run", step=0, time=0.0, name="x", level=level, message=""))
    assert telemetry.alerts == {"warning": 2, "error": 1}

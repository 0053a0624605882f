"""Settings that change with the step."""

import pytest

from keisei.ppo.detectors import WINDOW

from .small_learner import iterate, learner


def test_scheduled_settings_go_from_the_first_to_the_last_value_with_the_steps() -> None:
    last = {"learning_rate_final": 1e-4, "entropy_final": 0.0, "material_final": 0.1}
    one = learner(
        **{f"ppo.{name}": value for name, value in last.items()}, **{"env.reset_share_final": 0.2}
    )
    reports = [
        iterate(one).values for _ in range(WINDOW + 1)
    ]  # long enough for the detectors to check averages
    assert [r["train/lr"] for r in reports][:2] == pytest.approx([1e-3, 1e-3 - 9e-4 * 256 / 2000])
    last = reports[-1]
    assert last["train/lr"] == pytest.approx(1e-4)
    assert last["train/entropy_weight"] == 0
    assert last["train/material"] == pytest.approx(0.1)
    assert one.env.reset_share == pytest.approx(0.2)

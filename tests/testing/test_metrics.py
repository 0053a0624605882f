"""The made-up metrics of the fake run."""

import random

from keisei.metrics import NAMES
from keisei.testing.metrics import made_up_metrics


def test_the_made_up_metrics_are_metrics_of_a_real_run() -> None:
    values = made_up_metrics(100, random.Random(0))
    assert values.keys() <= set(NAMES)
    assert values == made_up_metrics(100, random.Random(0))

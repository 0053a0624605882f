"""Material on the board and in hand."""

import pytest
import torch

from keisei.ppo.material import material_balance

from .positions import seen


@pytest.mark.parametrize(
    ("sfen", "points"),
    [
        ("4k4/9/9/9/4R4/9/9/9/4K4 b - 1", 9),
        ("4k4/9/9/9/4R4/9/9/9/4K4 w - 1", -9),
        ("4k4/9/9/9/4r4/9/9/9/4K4 w - 1", 9),
        ("4k4/9/9/9/9/9/9/9/4K4 b G 1", 5),
        ("4k4/9/9/9/9/9/9/9/4K4 b B 1", 8),
        ("4k4/9/9/9/9/9/9/9/4K4 w g 1", 5),
        ("4k4/9/9/9/9/9/9/9/4K4 w Gp 1", -4),
    ],
)
def test_material_is_counted_for_the_side_to_move(sfen: str, points: int) -> None:
    assert torch.atanh(material_balance(seen(sfen)))[0] * 15 == pytest.approx(points, abs=1e-3)

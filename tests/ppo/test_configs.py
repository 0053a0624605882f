"""The shipped configurations."""

from pathlib import Path

import pytest

from keisei.config import Settings
from keisei.nets.registry import KINDS

FOLDER = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.name)
def test_a_shipped_configuration_fits_together(path: Path) -> None:
    settings = Settings.load(path)
    plies = settings.env.games * settings.ppo.rollout_plies
    assert plies % settings.ppo.minibatch == 0
    assert settings.net.kind in KINDS
    assert settings.env.reset_depth < settings.env.max_ply


def test_the_expected_ones_are_there() -> None:
    names = {path.name for path in FOLDER.glob("*.toml")}
    assert names >= {"quickstart.toml", "base.toml", "h100.toml"}

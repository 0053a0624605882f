"""The shipped configurations."""

from pathlib import Path

import pytest
import torch

from keisei.config import Settings
from keisei.nets.planes import PLANES
from keisei.nets.registry import build

FOLDER = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.name)
def test_a_shipped_configuration_fits_together(path: Path) -> None:
    settings = Settings.load(path)
    plies = settings.env.games * settings.ppo.rollout_plies
    assert plies % settings.ppo.minibatch == 0
    assert settings.env.reset_depth < settings.env.max_ply


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.name)
def test_the_network_of_a_shipped_configuration_answers(path: Path) -> None:
    net = Settings.load(path).net
    policy, outcome = build(net.kind, blocks=net.blocks, channels=net.channels)(
        torch.zeros(1, PLANES, 9, 9)
    )
    assert (policy.shape, outcome.shape) == ((1, 2187), (1, 3))


def test_the_documented_configurations_are_shipped() -> None:
    names = {path.name for path in FOLDER.glob("*.toml")}
    assert names >= {"quickstart.toml", "base.toml", "h100.toml"}


def test_the_quickstart_is_what_comes_without_a_configuration() -> None:
    assert Settings.load(FOLDER / "quickstart.toml") == Settings()

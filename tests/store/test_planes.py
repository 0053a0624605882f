"""Weights for 45 planes become weights for 48 planes; nothing else changes."""

from typing import Any

import pytest
import torch

from keisei.nets.planes import PLANES
from keisei.nets.registry import build
from keisei.store.planes import add_planes

KINDS = {"se_resnet": "stem", "resnet": "stem", "mlp": "stem", "transformer": "embed"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_of_any_kind_gives_the_answers_of_its_45_planes(kind: str) -> None:
    net = build(kind, blocks=1, channels=16, seed=3)
    name = f"{KINDS[kind]}.weight"
    now = net.state_dict()
    first = dict(now)
    first[name] = now[name][:, : now[name].shape[1] // PLANES * 45].clone()
    found = add_planes({"weights": first, "env": {}}, {"net": {"kind": kind}})
    assert found["env"] == {}
    net.load_state_dict(found["weights"])
    planes = torch.rand(2, PLANES, 9, 9)
    blind = planes.clone()
    blind[:, 45:] = 0
    with torch.no_grad():
        assert torch.equal(net(planes)[0], net(blind)[0])
    net.load_state_dict(now)
    with torch.no_grad():
        wanted = net(blind)[1]
        net.load_state_dict(found["weights"])
        assert torch.equal(net(planes)[1], wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_for_48_planes_stay(kind: str) -> None:
    groups = {"weights": build(kind, blocks=1, channels=16).state_dict()}
    assert add_planes(groups, {"net": {"kind": kind}}) is groups


@pytest.mark.parametrize(
    ("weights", "state"),
    [
        ({"stem.weight": torch.zeros(8, 45)}, {"net": {"kind": "plugin"}}),
        ({"stem.weight": torch.zeros(8, 45)}, {"net": {"kind": ["mlp"]}}),
        ({"stem.weight": torch.zeros(8, 45)}, {"net": 3}),
        ({"stem.weight": torch.zeros(8, 45)}, {}),
        ({"stem.weight": torch.zeros(45)}, {"net": {"kind": "mlp"}}),
        ({}, {"net": {"kind": "mlp"}}),
    ],
)
def test_weights_of_unknown_networks_and_wrong_shapes_stay(
    weights: dict[str, torch.Tensor], state: dict[str, Any]
) -> None:
    groups = {"weights": weights}
    assert add_planes(groups, state) is groups

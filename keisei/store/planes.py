"""Gives networks of early checkpoints inputs for the planes that were added later."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_FIRST, _NOW = 45, 48
"""Numbers of input planes: in the first checkpoints, and now. The new planes are the last ones."""
_INPUTS = {"se_resnet": "stem", "resnet": "stem", "mlp": "stem", "transformer": "embed"}
"""Name of the layer that reads the planes, for each kind of network that had 45 planes."""


def add_planes(
    groups: dict[str, dict[str, "Tensor"]], state: dict[str, Any]
) -> dict[str, dict[str, "Tensor"]]:
    """Return the tensors of a checkpoint with weights for 48 planes. ``state``: its state.

    In weights for 45 planes, the weights of the other planes become zero, so the network gives the
    same answers as before. All other tensors stay as they are.
    """
    net, weights = state.get("net"), groups.get("weights", {})
    kind = net.get("kind") if isinstance(net, dict) else None
    name = f"{_INPUTS.get(str(kind))}.weight"
    old = weights.get(name)
    if old is None or old.dim() < 2 or old.shape[1] not in (_FIRST, _FIRST * 81):
        return groups
    new = old.new_zeros(old.shape[0], old.shape[1] // _FIRST * _NOW, *old.shape[2:])
    new[:, : old.shape[1]] = old
    return {**groups, "weights": {**weights, name: new}}

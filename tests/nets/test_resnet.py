"""Residual networks: the hand-written gradient, and no difference between modes."""

import torch

from keisei.nets.registry import build
from keisei.nets.resnet import _BoardMean


def test_the_gradient_of_the_squeeze_is_that_of_a_mean() -> None:
    """Compare the hand-written backward with torch's."""
    x = torch.randn(3, 4, 9, 9, requires_grad=True)
    weight = torch.randn(3, 4)
    (_BoardMean.apply(x) * weight).sum().backward()
    ours, x.grad = x.grad, None
    (x.mean((2, 3)) * weight).sum().backward()
    torch.testing.assert_close(ours, x.grad)


def test_no_layer_computes_differently_in_training_mode(planes: torch.Tensor) -> None:
    net = build("se_resnet", blocks=2, channels=16)
    trained, judged = net.train()(planes), net.eval()(planes)
    assert all(torch.equal(a, b) for a, b in zip(trained, judged, strict=True))

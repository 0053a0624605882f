"""torch.compile around a network, and what happens where it does not work."""

from functools import partial
from typing import Any

import pytest
import torch

from keisei.nets.registry import build
from keisei.ppo.forward import Forward

PLANES = torch.zeros(2, 48, 9, 9)


def broken(graph: Any, inputs: Any) -> Any:
    raise RuntimeError("no C++ compiler\nsecond line")


def test_a_network_that_cannot_be_compiled_runs_plain_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    net = build("mlp", blocks=1, channels=16)
    forward = Forward(net, compile=True)
    assert forward.compiled
    forward.bring_up(lambda: forward(PLANES)[0].sum().backward())
    assert not forward.compiled
    assert "no C++ compiler" in forward.failure
    assert "\n" not in forward.failure
    torch.testing.assert_close(forward(PLANES), net(PLANES))
    assert any(parameter.grad is not None for parameter in net.parameters())


def test_a_compiled_network_shares_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    net = build("mlp", blocks=1, channels=16)
    forward = Forward(net, compile=True)
    forward.bring_up(lambda: forward(PLANES)[0].sum().backward())
    assert forward.compiled
    assert not forward.failure
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1)
        torch.testing.assert_close(forward(PLANES), net(PLANES))


def test_an_error_of_the_network_itself_is_raised() -> None:
    forward = Forward(build("mlp", blocks=1, channels=16), compile=False)
    with pytest.raises(RuntimeError):
        forward.bring_up(lambda: forward(torch.zeros(2, 3, 9, 9)))

"""torch.compile and CUDA graphs around a network, also where they fail."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

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
    forward = Forward(net, compile=True, graphs=False)
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
    forward = Forward(net, compile=True, graphs=False)
    forward.bring_up(lambda: forward(PLANES)[0].sum().backward())
    assert forward.compiled
    assert not forward.failure
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1)
        torch.testing.assert_close(forward(PLANES), net(PLANES))


class Recorded:
    """Replaces ``torch.compile``: answers in the same memory each time, as a CUDA graph does."""

    def __init__(self, net: nn.Module, mode: str | None, fails_at: int = 0, **_: Any) -> None:
        assert mode == "reduce-overhead"
        self._net, self._runs, self._fails_at = net, 0, fails_at
        self._memory: list[Tensor] = []

    def __call__(self, planes: Tensor) -> tuple[Tensor, ...]:
        self._runs += 1
        if self._runs == self._fails_at:
            raise RuntimeError("cannot replay")
        answer = [tensor.detach() for tensor in self._net(planes)]
        self._memory = self._memory or answer
        return tuple(kept.copy_(new) for kept, new in zip(self._memory, answer, strict=True))


def test_the_answer_of_a_graph_outlives_its_next_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", Recorded)
    net = build("mlp", blocks=1, channels=16)
    forward = Forward(net, compile=True, graphs=True)
    with torch.no_grad():
        answer = forward(PLANES)
        forward(PLANES + 1)
        torch.testing.assert_close(answer, net(PLANES))


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_graph_is_brought_up_to_its_replay(
    monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    monkeypatch.setattr(torch, "compile", partial(Recorded, fails_at=fails_at))
    net = build("mlp", blocks=1, channels=16)
    forward = Forward(net, compile=True, graphs=True)

    def use() -> None:
        forward(PLANES)

    forward.bring_up(use)
    assert not forward.compiled
    assert forward.failure == "RuntimeError: cannot replay"
    torch.testing.assert_close(forward(PLANES), net(PLANES))


def test_an_error_of_the_network_itself_is_raised() -> None:
    forward = Forward(build("mlp", blocks=1, channels=16), compile=False, graphs=True)
    with pytest.raises(RuntimeError):
        forward.bring_up(lambda: forward(torch.zeros(2, 3, 9, 9)))

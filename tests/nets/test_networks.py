"""Networks: shapes, determinism, and that a fresh one is nearly indifferent."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from keisei.nets.planes import PLANES
from keisei.nets.registry import NetError, build, check, kinds


@pytest.fixture
def planes() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(16, PLANES, 9, 9, generator=generator) < 0.1).float()


@pytest.mark.parametrize("kind", kinds())
def test_a_network_answers_and_all_of_it_learns(kind: str, planes: torch.Tensor) -> None:
    net = build(kind, blocks=2, channels=32)
    for _ in range(2):  # the second convolutions start at zero and block their gradient once
        policy, outcome = net(planes)
        assert policy.shape == (16, 2187)
        assert outcome.shape == (16, 3)
        torch.optim.SGD(net.parameters(), 0.1).zero_grad()
        (policy.square().mean() + outcome[:, 0].mean() + policy[:, 5].mean()).backward()
        torch.optim.SGD(net.parameters(), 0.1).step()
    still = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@pytest.mark.parametrize("kind", kinds())
def test_a_fresh_network_is_nearly_indifferent(kind: str, planes: torch.Tensor) -> None:
    policy, outcome = build(kind, blocks=10, channels=32)(planes)
    assert policy.std() < 0.1
    assert (outcome.softmax(1) - 1 / 3).abs().max() < 0.2


def test_weights_depend_on_the_seed_alone_and_leave_torchs_generator() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = build("se_resnet", blocks=1, channels=16, seed=7).state_dict()
    assert torch.equal(torch.rand(3), expected)
    again = build("se_resnet", blocks=1, channels=16, seed=7).state_dict()
    other = build("se_resnet", blocks=1, channels=16, seed=8).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.weight"], other["stem.weight"])


def test_the_squeeze_gradient_is_that_of_the_mean(planes: torch.Tensor) -> None:
    """The hand-written backward against torch's."""
    from keisei.nets.resnet import _BoardMean

    x = torch.randn(3, 4, 9, 9, requires_grad=True)
    weight = torch.randn(3, 4)
    (_BoardMean.apply(x) * weight).sum().backward()
    ours, x.grad = x.grad, None
    (x.mean((2, 3)) * weight).sum().backward()
    torch.testing.assert_close(ours, x.grad)


def test_no_layer_behaves_differently_in_training(planes: torch.Tensor) -> None:
    net = build("se_resnet", blocks=2, channels=16)
    trained, judged = net.train()(planes), net.eval()(planes)
    assert all(torch.equal(a, b) for a, b in zip(trained, judged, strict=True))


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(NetError, match="'rsnet' is not one of se_resnet, resnet, transformer, mlp"):
        build("rsnet", blocks=1, channels=8)


def test_sizes_that_a_network_can_not_have_are_refused() -> None:
    check("transformer", blocks=1, channels=32)
    with pytest.raises(
        NetError, match="transformer of 1 x 40 can't be built: channels: a multiple"
    ):
        check("transformer", blocks=1, channels=40)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package with a network, ``tiny``, and one that can't be imported, ``broken``."""
    (tmp_path / "someones.py").write_text(
        "import torch\n"
        "from keisei.nets.resnet import ResNet\n"
        "class Tiny(ResNet):\n"
        "    def __init__(self, blocks, channels):\n"
        "        super().__init__(1, 8, squeeze=False)\n"
        "        self.norm = torch.nn.GroupNorm(2, 8)\n"
        "        self.scale = torch.nn.Parameter(torch.tensor(2.0))\n"
        "        self.register_buffer('ramp', torch.arange(9.0))\n"
        "    def trunk(self, planes):\n"
        "        return self.norm(super().trunk(planes)) * self.scale + self.ramp\n"
    )
    info = tmp_path / "someones-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someones\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[keisei.nets]\ntiny = someones:Tiny\nbroken = not_there:net\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("someones", None)


@pytest.mark.usefixtures("plugin")
def test_a_package_adds_a_network_by_an_entry_point() -> None:
    assert {"tiny", "broken"} < {*kinds()}
    net = build("tiny", blocks=9, channels=64)
    weights = net.state_dict()
    assert weights["ramp"].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert weights["norm.weight"].tolist() == [1] * 8
    assert weights["scale"] == 2
    assert weights["heads.weight"].shape[1] == 8
    with pytest.raises(
        NetError, match="broken of 1 x 8 can't be built: No module named 'not_there'"
    ):
        check("broken", blocks=1, channels=8)

"""Networks by name: seeds, unknown kinds, and networks of installed packages."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from keisei.nets.registry import NetError, build, check, kinds


def test_weights_depend_on_the_seed_alone_and_torchs_generator_is_unchanged() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = build("se_resnet", blocks=1, channels=16, seed=7).state_dict()
    assert torch.equal(torch.rand(3), expected)
    again = build("se_resnet", blocks=1, channels=16, seed=7).state_dict()
    other = build("se_resnet", blocks=1, channels=16, seed=8).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.weight"], other["stem.weight"])


def test_the_error_of_an_unknown_kind_lists_the_kinds() -> None:
    with pytest.raises(NetError, match="'rsnet' is not one of se_resnet, resnet, transformer, mlp"):
        build("rsnet", blocks=1, channels=8)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package with the network ``tiny``, and ``broken``, which cannot be imported."""
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
def test_an_installed_package_adds_a_network_by_an_entry_point() -> None:
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

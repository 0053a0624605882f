"""The model card, and its lines that run a network without Keisei."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from stored_runs import make_run

from keisei.env import observe_sfen
from keisei.nets.planes import expand
from keisei.play.players import load
from keisei.shogi import Position
from keisei.store import find_checkpoint
from keisei.store.card import FORWARD, model_card
from keisei.store.export import read_weights, write_export

ROOT = Path(__file__).parents[2]
SCORE = {
    "agent": "run@20", "step": 20, "opponent": "a|b", "games": 40, "score": 0.75,
    "interval": [0.61, 0.89], "mode": "greedy",
}  # fmt: skip

AROUND = """
import sys; sys.modules["keisei"] = None
from safetensors.torch import load_file, save_file
planes = load_file("../planes.safetensors")["planes"]
{forward}
save_file({{"policy": policy.flatten(1).clone(), "outcome": outcome}}, "../found")
"""


def card(run: Path, **more: object) -> str:
    network = read_weights(find_checkpoint(run)[0])
    options = {"title": "Strong", "folder": "strong", "license": "MIT"} | more
    return model_card(network, [SCORE], **options)  # type: ignore[arg-type]


def test_the_card_says_how_the_network_was_trained_and_how_strong_it_is(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [10, 20], {"ppo": {"gamma": 0.5}, "run": {"seed": 7}})
    text = card(run)
    head = yaml.safe_load(text.split("---")[1])
    assert head["license"] == "MIT"
    for line in (
        "# Strong",
        "| network | se_resnet, 2 blocks, 8 channels, 48,134 parameters |",
        "| run | run |",
        "| steps | 20 |",
        "| time of training | 2:00:00 |",
        "| seed | 7 |",
        "| licence | MIT |",
        r"| run@20 | a\|b | greedy | 40 | 0.750 | 0.610 to 0.890 |",
        "| `ppo.gamma` | `0.5` |",
    ):
        assert line in text.splitlines()
    assert "`ppo.clip`" not in text, "has its default value"
    assert yaml.safe_load(card(run, license="x: [y").split("---")[1])["license"] == "x: [y"


def test_a_network_of_another_kind_has_no_lines_of_torch(tmp_path: Path) -> None:
    net = {"kind": "mlp", "blocks": 1, "channels": 8}
    text = card(make_run(tmp_path / "run", [20], net=net))
    assert "import torch" not in text


def test_the_guide_shows_the_same_lines() -> None:
    guide = (ROOT / "docs/guide/runs.md").read_text("utf-8")
    assert f"```python\n{FORWARD}```" in guide


def test_the_lines_are_ten_after_the_imports() -> None:
    lines = [line for line in FORWARD.splitlines() if line]
    assert sum(not re.match("import|from", line) for line in lines) == 10


@pytest.mark.timeout(120)
def test_ten_lines_of_plain_torch_compute_what_keisei_computes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [20], {"compute": {"dtype": "float32"}})
    write_export(read_weights(find_checkpoint(run)[0]), "", tmp_path / "out")
    # The second convolutions are zero in a new network; others test the gates too.
    net = load(tmp_path / "out").agent.net
    generator = torch.Generator().manual_seed(1)
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    save_file(net.state_dict(), tmp_path / "out" / "weights.safetensors")
    positions = [Position(), Position("4k4/9/4P4/9/9/9/9/9/4K4 b G2r 1")]
    seen = np.concatenate([observe_sfen(position.sfen(), 256)[0] for position in positions])
    planes = expand(torch.from_numpy(seen))
    save_file({"planes": planes.contiguous()}, tmp_path / "planes.safetensors")
    program = AROUND.format(forward=FORWARD)
    subprocess.run([sys.executable, "-I", "-c", program], check=True, cwd=tmp_path / "out")
    found = load_file(tmp_path / "found")
    with torch.no_grad():
        policy, outcome = net(planes)
    torch.testing.assert_close(found["policy"], policy)
    torch.testing.assert_close(found["outcome"], outcome.softmax(1))

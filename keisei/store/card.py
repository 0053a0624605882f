"""The model card of an exported network, as Markdown."""

import importlib.metadata
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from keisei.config import Settings
from keisei.store.checkpoints import WEIGHTS, Checkpoint

FORWARD = """\
import torch.nn.functional as F
from safetensors.torch import load_file

w = load_file("weights.safetensors")
conv = lambda name, x: F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding="same")
linear = lambda name, x: F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])
x = conv("stem", planes).relu()                 # planes: float32[B, 48, 9, 9]
for i in range(sum(name.endswith("conv1.weight") for name in w)):
    y = conv(f"tower.{i}.conv2", conv(f"tower.{i}.conv1", x).relu())
    gate = linear(f"tower.{i}.gate.squeeze", y.mean((2, 3))).relu()
    x = (x + y * linear(f"tower.{i}.gate.excite", gate).sigmoid()[:, :, None, None]).relu()
policy, value = conv("heads", x).split((27, 8), 1)    # policy logits: 27 move types x 81 squares
outcome = linear("outcome", linear("hidden", value.relu().flatten(1)).relu()).softmax(1)
"""
"""Ten lines of plain torch, after the imports, that run a network of the kind se_resnet."""

_CARD = """\
---
license: {license}
library_name: keisei
tags: [shogi, reinforcement-learning, ppo, self-play]
---

# {title}

This network plays shogi. Keisei trained it by PPO self-play.

| | |
|---|---|
{facts}

## Scores
{scores}

## Settings of the training
All other settings have the default values of Keisei {version}. The header of `weights.safetensors`
contains all settings of the training.

| setting | value |
|---|---|
{settings}

## Use
```
keisei usi {folder}                            # play in a shogi GUI
keisei evaluate {folder} --opponent material   # measure the strength
keisei train --init {folder}                   # start a run from these weights
```
{code}"""
_NO_SCORES = "The network was not measured."
_SCORES = """\
Draws and capped games count half a point. In the mode `sampled`, the network samples its moves from
its policy; in the mode `greedy`, it plays the most probable move.

| network | opponent | mode | games | score | 95 % interval |
|---|---|---|---|---|---|
"""
_CODE = """
These lines run the network without Keisei. They need torch and safetensors:
```python
{forward}```
"""


def model_card(
    network: Checkpoint,
    scores: Iterable[dict[str, Any]],
    *,
    title: str,
    folder: str,
    license: str,
) -> str:
    """Return the card of a network that ``read_weights`` returned.

    Args:
        network: the network.
        scores: the result of ``newest_scores``.
        title: the card's title.
        folder: name of the folder of the exported network.
        license: SPDX identifier of the network's licence, or ``unknown``.
    """
    rows = [_score(score) for score in scores]
    code = _CODE.format(forward=FORWARD) if network.state["net"]["kind"] == "se_resnet" else ""
    return _CARD.format(
        license=json.dumps(license),
        title=_cell(title),
        facts="\n".join(f"| {name} | {_cell(value)} |" for name, value in _facts(network, license)),
        scores=_SCORES + "\n".join(rows) if rows else _NO_SCORES,
        version=importlib.metadata.version("keisei"),
        settings="\n".join(f"| `{key}` | `{value}` |" for key, value in _changed(network)),
        folder=folder,
        code=code,
    )


def _facts(network: Checkpoint, license: str) -> list[tuple[str, str]]:
    """Return the first table of the card."""
    state, net = network.state, network.state["net"]
    size = f"{net['blocks']} blocks, {net['channels']} channels"
    parameters = sum(tensor.numel() for tensor in network.tensors[WEIGHTS].values())
    facts = [
        ("network", f"{net['kind']}, {size}, {parameters:,} parameters"),
        ("run", state["run"]),
        ("steps", f"{network.step:,}"),
    ]
    if "iteration" in state:
        facts.append(("iterations", f"{state['iteration']:,}"))
    if "elapsed_seconds" in state:
        facts.append(("time of training", str(timedelta(seconds=round(state["elapsed_seconds"])))))
    facts.append(("seed", str(state["settings"]["run"]["seed"])))
    facts.append(("exported by", f"Keisei {importlib.metadata.version('keisei')}"))
    return [*facts, ("licence", license)]


def _changed(network: Checkpoint) -> list[tuple[str, Any]]:
    """Return the settings that differ from the defaults, with their values."""
    default = Settings().model_dump(mode="json")
    return [
        (f"{section}.{key}", value)
        for section, values in network.state["settings"].items()
        for key, value in values.items()
        if value != default[section][key]
    ]


def _score(score: dict[str, Any]) -> str:
    low, high = score["interval"]
    agent, opponent = _cell(score["agent"]), _cell(score["opponent"])
    return (
        f"| {agent} | {opponent} | {score['mode']} | {score['games']} "
        f"| {score['score']:.3f} | {low:.3f} to {high:.3f} |"
    )


def _cell(text: str) -> str:
    """Return a text that does not end its cell or line in Markdown."""
    return " ".join(text.split()).replace("|", r"\|")

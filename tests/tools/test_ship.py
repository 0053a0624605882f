"""tools/ship: training becomes a folder that plays, with a card that says how it was made."""

import csv
import hashlib
from pathlib import Path
from types import ModuleType

import pytest
import torch

import keisei
from keisei.store import read_settings

TOOLS = Path(__file__).parents[2] / "tools"
SMALL = (
    "--env.games=4", "--env.reset_pool=16", "--ppo.rollout_plies=8", "--ppo.minibatch=32",
    "--net.blocks=1", "--net.channels=8", "--run.steps=96", "--device=cpu",
    "--compute.threads=1",
)  # fmt: skip
FILES = {
    "CARD.md",
    "manifest.json",
    "run.toml",
    "state.json",
    "training.csv",
    "weights.safetensors",
}


@pytest.fixture
def ship(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """Return the tool's module; the working directory is an empty folder."""
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.chdir(tmp_path)
    import ship  # type: ignore[import-not-found, unused-ignore]

    module: ModuleType = ship
    return module


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_training_becomes_a_small_player_with_a_card(ship: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "shipped-000000").mkdir(parents=True)
    threads = torch.get_num_threads()  # an evaluation sets them
    ship.main(["--out", str(out), "--opponent", "random", "--games", "2", *SMALL])
    torch.set_num_threads(threads)
    (network,) = out.iterdir()
    assert keisei.load(network, "cpu").name == f"{network.name}@96"
    assert read_settings(network).net.channels == 8
    assert {path.name for path in network.rglob("*") if path.is_file()} == FILES
    (weights,) = network.rglob("weights.safetensors")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert network.name == f"shipped-{digest[:6]}"
    card = (network / "CARD.md").read_text("utf-8")
    assert digest in card
    assert f"{network.name}/run.toml --run.minutes 0 --run.steps 96" in card
    assert [f"| `random` | {mates} | 2 | " in card for mates in (0, 1)] == [True, True]
    rows = csv.DictReader((network / "training.csv").read_text("utf-8").splitlines())
    assert [row["step"] for row in rows] == ["32", "64", "96"]


def test_a_long_training_has_a_short_table_with_the_last_step(ship: ModuleType) -> None:
    rows = "".join(f"{n},{n},{1e9 + 6 * n},{n / 7}\n" for n in range(1, 1001))
    lines = ship.curve(f"step,iteration,time,train/kl\n{rows}").splitlines()
    assert lines[0] == "step,minutes,train/kl"
    assert len(lines) == 101
    assert lines[-1] == "1000,99.90,142.9"


@pytest.mark.parametrize("words", [(), ("--run", "a", "--run.minutes", "2")])
def test_the_tool_wants_either_a_run_or_flags_for_the_training(
    words: tuple[str, ...], ship: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        ship.main(words)
    assert "either --run RUN or flags for the training" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_engine_is_named_before_the_training(
    ship: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        ship.main(["--opponent", "usi:no-such-engine?nodes=1", "--run.minutes", "2"])
    assert "no-such-engine is not in PATH" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

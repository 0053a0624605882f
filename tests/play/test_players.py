"""A player is the network of its checkpoint, or an error; never another network."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from keisei.config import Settings
from keisei.env.observe import EARLIER_COLUMN
from keisei.nets.policy import DeviceError
from keisei.nets.registry import build
from keisei.play.players import load, load_within
from keisei.shogi import Position, SfenError
from keisei.store import CheckpointError, RunDirectory, save_checkpoint

NET = {"kind": "se_resnet", "blocks": 1, "channels": 16}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    settings = Settings.model_validate({"env": {"max_ply": 300, "declaration": "none"}})
    with RunDirectory.create(settings, tmp_path / "run") as run:
        yield run


def save(run: RunDirectory, step: int, net: dict[str, Any] = NET, **changed: Any) -> Path:
    weights = build(**NET, seed=step).state_dict() | changed
    return save_checkpoint(run, step, {"weights": weights}, {"net": net})


def test_a_run_is_played_by_its_newest_checkpoint(run: RunDirectory) -> None:
    save(run, 1)
    path = save(run, 2)
    for source in (run.path, path, str(path)):
        player = load(source, "cpu")
        assert (player.checkpoint, player.step, player.refused) == (path, 2, ())
        assert (player.max_ply, player.declaration) == (300, "none")
        expected = build(**NET, seed=2).state_dict()
        found = player.agent.net.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_player_needs_only_the_weights_of_a_checkpoint(run: RunDirectory) -> None:
    weights = build(**NET, seed=1).state_dict()
    groups = {"weights": weights, "optimizer": {"x": torch.zeros(3)}}
    path = save_checkpoint(run, 1, groups, {"net": NET})
    (path / "optimizer.safetensors").unlink()
    for source in (run.path, path):
        assert load(source, "cpu").step == 1


def test_a_caller_can_refuse_the_weights_before_they_go_to_the_device(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(run, 1)
    asked: list[int] = []
    assert load_within(run.path, "cpu", asked.append).agent.nbytes == asked[0] > 0

    def none(nbytes: int) -> None:
        raise MemoryError(nbytes)

    move = torch.nn.Module.to

    def to(net: torch.nn.Module, *device: Any, **layout: Any) -> torch.nn.Module:
        assert not device, "it was copied"
        return move(net, **layout)

    monkeypatch.setattr(torch.nn.Module, "to", to)
    with pytest.raises(MemoryError, match=str(asked[0])):
        load_within(run.path, "cpu", none)


def test_the_home_of_a_player_is_its_run_or_else_its_own_folder(
    run: RunDirectory, tmp_path: Path
) -> None:
    path = save(run, 1)
    assert load(path, "cpu").home == run.path
    moved = shutil.copytree(path, tmp_path / "moved")
    found = load(moved, "cpu")
    assert (found.home, found.name) == (moved, "moved@1")


def test_a_damaged_newest_checkpoint_is_reported_and_the_one_before_plays(
    run: RunDirectory,
) -> None:
    path = save(run, 1)
    (save(run, 2) / "weights.safetensors").write_bytes(b"x")
    player = load(run.path, "cpu")
    assert (player.checkpoint, player.step) == (path, 1)
    assert "weights.safetensors: damaged" in str(player.refused[0])


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (NET | {"channels": 32}, "size mismatch"),
        (NET | {"blocks": 2}, "Missing key"),
        (NET | {"kind": "resnet"}, "Unexpected key"),
        (NET | {"kind": "nonsense"}, "'nonsense' is not one of"),
        (NET | {"depth": 1}, "depth"),
        ({}, "kind"),
        (None, "mapping"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(
    run: RunDirectory, net: dict[str, Any], message: str
) -> None:
    path = save(run, 1, net)
    with pytest.raises(
        CheckpointError, match=f"(?s)000000000001: cannot build its network: .*{message}"
    ):
        load(path, "cpu")


def test_checkpoints_without_weights_or_with_nan_are_refused(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_checkpoint(run, 1, {}, {"net": NET})
    with pytest.raises(CheckpointError, match="cannot build its network: 'weights'"):
        load(path, "cpu")
    name = next(iter(build(**NET).state_dict()))
    bad = {name: torch.full_like(build(**NET).state_dict()[name], torch.nan)}
    with monkeypatch.context() as patch:  # as earlier versions did
        patch.setattr("keisei.store.checkpoints.first_not_finite", lambda tensors: None)
        path = save(run, 2, **bad)
    with pytest.raises(CheckpointError, match=f"weights/{name} is not finite"):
        load(path, "cpu")


def test_a_missing_file_checkpoint_or_device_is_named_in_the_error(
    tmp_path: Path, run: RunDirectory
) -> None:
    with pytest.raises(CheckpointError, match="no such file or folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        load(run.path)
    with pytest.raises(DeviceError, match="cuda:99"):
        load(save(run, 1), "cuda:99")


def test_a_best_move_is_legal_and_the_greedy_one_is_always_the_same(run: RunDirectory) -> None:
    save(run, 1)
    player = load(run.path, "cpu", seed=1)
    position = Position()
    drawn = {player.best_move(position.sfen(), False) for _ in range(20)}
    assert drawn <= set(position.legal_moves())
    assert len(drawn) > 5
    assert len({player.best_move("startpos") for _ in range(5)}) == 1
    again = load(run.path, "cpu", seed=1)
    assert {again.best_move(position.sfen(), False) for _ in range(20)} == drawn
    for _ in range(40):  # both colours, drops, checks
        move = player.best_move(position.sfen(), False)
        assert move is not None
        position.push(move)


def test_best_move_sees_what_the_network_saw_in_training(run: RunDirectory) -> None:
    """Board and hands turned for white; the ply as a share of the run's maximum."""
    from keisei.env import VectorEnv, observe_sfen

    env = VectorEnv(1, max_ply=300, reset_pool=0)
    position = Position()
    for usi in ("7g7f", "3c3d", "8h2b+", "3a2b", "B*5e"):
        env.step([position.action(usi)])
        position.push(usi)
        observation, mask = observe_sfen(position.sfen(), 300)
        assert observation.tolist() == env.observation.tolist()
        assert mask.tolist() == env.mask.tolist()


MATED = "4k4/4G4/4P4/9/9/9/9/9/4K4 w - 1"
ENTERED = "LNSGKGSNL/1R5B1/PPPPPPPPP/9/9/9/9/9/4k4 b RB 1"


def test_there_is_no_best_move_after_mate_and_a_win_where_a_declaration_wins(
    run: RunDirectory,
) -> None:
    save(run, 1)
    player = load(run.path, "cpu")
    assert player.best_move(MATED) is None
    assert Position(ENTERED).declaration() == "win"
    assert player.best_move(ENTERED) in Position(ENTERED).legal_moves()  # this run knows no rule
    player.declaration = "27"
    assert player.best_move(ENTERED) == "win"
    with pytest.raises(SfenError):
        player.best_move("nonsense")


def test_a_chosen_move_has_the_networks_value_and_most_probable_moves(run: RunDirectory) -> None:
    save(run, 1)
    player = load(run.path, "cpu")
    player.declaration = "27"
    begin, mated, entered = player.choose([Position(), Position(MATED), Position(ENTERED)])
    assert begin.value is not None
    assert -1 <= begin.value <= 1
    assert begin.top_moves[0][0] == begin.move == player.best_move("startpos")
    shares = [share for _, share in begin.top_moves]
    assert len(shares) == 5
    assert shares == sorted(shares, reverse=True)
    assert (mated.move, mated.declares_win, mated.value, mated.top_moves) == (None, False, None, ())
    assert (entered.move, entered.declares_win, entered.value) == (None, True, None)


MATE_IN_ONE = "4k4/9/4P4/9/9/9/9/4R4/4K4 b RG 1"


def test_a_mate_in_one_is_played_unless_the_caller_wants_the_networks_own_move(
    run: RunDirectory,
) -> None:
    save(run, 1)
    player = load(run.path, "cpu")
    (mate,) = player.choose([Position(MATE_IN_ONE)])
    (own,) = player.choose([Position(MATE_IN_ONE)], mates=0)
    assert (mate.value, mate.mate, mate.top_moves) == (1, 1, own.top_moves)
    after = Position(MATE_IN_ONE)
    after.push(str(mate.move))
    assert after.legal_moves() == []
    assert own.mate is None
    assert own.move == own.top_moves[0][0] != mate.move
    drawn = {player.best_move(MATE_IN_ONE, greedy=False) for _ in range(20)}
    assert drawn == {mate.move}
    assert player.best_move(MATE_IN_ONE, mates=0) == own.move


def test_the_network_sees_that_a_position_occurs_again(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(run, 1)
    player = load(run.path, "cpu")
    seen = []
    choose = player.agent.choose

    def watched(observation: Any, mask: Any, **how: Any) -> Any:
        seen.extend(observation[:, EARLIER_COLUMN].tolist())
        return choose(observation, mask, **how)

    monkeypatch.setattr(player.agent, "choose", watched)
    again = Position()
    for usi in ("2h3h", "8b7b", "3h2h", "7b8b"):
        again.push(usi)
    player.choose([Position(), again])
    assert seen == [0, 1]


def test_a_learners_checkpoint_is_a_player(tmp_path: Path) -> None:
    from keisei.ppo.learner import Learner

    settings = Settings.model_validate(
        {"env": {"games": 2, "reset_pool": 4}, "net": {"blocks": 1, "channels": 8}}
    )
    learner = Learner(settings, torch.device("cpu"), torch.float32)
    with RunDirectory.create(settings, tmp_path / "run") as run:
        save_checkpoint(run, 0, learner.tensors(), learner.state())
    weights = load(run.path, "cpu").agent.net.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in learner.net.state_dict().items())

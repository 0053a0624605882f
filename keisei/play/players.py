"""From a run or a checkpoint to a player: its network as it was trained, never another."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from keisei.env import observe_sfen
from keisei.nets.policy import Agent, resolve_device, resolve_dtype
from keisei.nets.registry import build
from keisei.shogi import Position, SfenError
from keisei.shogi.position import Rule
from keisei.store import (
    Checkpoint,
    CheckpointError,
    find_checkpoint,
    load_checkpoint,
)
from keisei.store.checkpoints import WEIGHTS
from keisei.store.directory import trained_with
from keisei.store.layout import CHECKPOINTS


class Player:
    """An agent that answers with moves in USI. All calls belong on one thread."""

    def __init__(
        self,
        agent: Agent,
        *,
        max_ply: int = 256,
        declaration: Rule = "27",
        checkpoint: Path | None = None,
        step: int = 0,
        refused: tuple[CheckpointError, ...] = (),
    ) -> None:
        self.agent = agent
        self.max_ply = max_ply
        """Maximum ply of the agent's training games."""
        self.declaration: Rule = declaration
        """Entering-king rule of the agent's training games."""
        self.checkpoint = checkpoint
        """Where the agent comes from."""
        self.step = step
        """How long it had trained, in steps."""
        self.refused = refused
        """Newer checkpoints of the run that are damaged."""

    @property
    def home(self) -> Path:
        """The run that it comes from; a checkpoint outside a run is its own home."""
        folder = (self.checkpoint or Path("unknown")).absolute()
        return folder.parent.parent if folder.parent.name == CHECKPOINTS else folder

    @property
    def name(self) -> str:
        """``<run>@<step>``; a checkpoint outside a run has the name of its folder instead."""
        return f"{self.home.name}@{self.step}"

    def best_move(self, sfen: str, greedy: bool = True) -> str | None:
        """The agent's move (USI) in a position; sampled from its policy if not ``greedy``.

        ``"win"``, as in USI, where the side to move may win by declaring; None where it has no
        legal move. Raises SfenError.
        """
        (move,) = self.best_moves([sfen], greedy=greedy)
        if isinstance(move, SfenError):
            raise move
        return move

    def best_moves(
        self, sfens: Sequence[str], *, greedy: bool = True
    ) -> list[str | SfenError | None]:
        """As ``best_move`` for many positions at once; errors are given back, not raised."""
        found: list[str | SfenError | None] = []
        wanted: list[tuple[int, Position]] = []
        seen: list[tuple[NDArray[np.uint8], NDArray[np.uint64]]] = []
        for sfen in sfens:
            found.append(None)
            try:
                position = Position(sfen)
            except SfenError as error:
                found[-1] = error
                continue
            observation, mask = observe_sfen(sfen, self.max_ply)
            if position.declaration(self.declaration) == "win":
                found[-1] = "win"
            elif mask.any():
                wanted.append((len(found) - 1, position))
                seen.append((observation, mask))
        if wanted:
            observations, masks = map(np.concatenate, zip(*seen, strict=True))
            actions, _ = self.agent.choose(observations, masks, greedy=greedy)
            for (index, position), action in zip(wanted, actions.tolist(), strict=True):
                found[index] = position.usi(action)
        return found


def load(path: str | Path, device: str = "auto", *, seed: int = 0) -> Player:
    """The player in a checkpoint, or in a run's newest valid one.

    Args:
        path: a checkpoint's folder, or a run's.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        seed: of the moves it draws when it does not play greedily.

    Raises:
        CheckpointError: there is none, it is damaged or not finite, or its weights don't fit its
        network. RunError: the settings of the checkpoint's run can't be read. DeviceError: the
        device can't be used.
    """
    return load_within(Path(path), device, lambda nbytes: None, seed=seed)


def load_within(path: Path, device: str, room: Callable[[int], None], *, seed: int = 0) -> Player:
    """As ``load``; ``room`` is called before its weights, of so many bytes, go to the device.

    What it raises keeps them from going there.
    """
    folder, refused = find_checkpoint(path, only=WEIGHTS)
    checkpoint = load_checkpoint(folder, only=WEIGHTS)
    place = resolve_device(device)
    trained = trained_with(folder)
    dtype = resolve_dtype(trained.compute.dtype, place)
    net = _rebuild(checkpoint)
    room(sum(tensor.nbytes for tensor in net.state_dict().values()))
    agent = Agent(net.to(place), place, dtype, seed)
    env = trained.env
    return Player(
        agent,
        max_ply=env.max_ply,
        declaration=env.declaration,
        checkpoint=folder,
        step=checkpoint.step,
        refused=tuple(refused),
    )


def _rebuild(checkpoint: Checkpoint) -> torch.nn.Module:
    """The network that the checkpoint says it is, with its weights."""
    try:
        net = build(**checkpoint.state["net"])
        net.load_state_dict(checkpoint.tensors[WEIGHTS], strict=True)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{checkpoint.path}: no network in it: {error}") from error
    return net.eval()

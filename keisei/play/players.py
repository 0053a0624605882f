"""A player from a run or a checkpoint: its network as it was trained, or an error."""

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
    """An agent that answers with moves in USI. Call it from one thread only."""

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
        """Folder of the checkpoint that the agent was loaded from."""
        self.step = step
        """Steps that the agent was trained for."""
        self.refused = refused
        """Errors of newer checkpoints of the run, which are damaged."""

    @property
    def home(self) -> Path:
        """Folder of the agent's run; for a checkpoint outside a run, the checkpoint's folder."""
        folder = (self.checkpoint or Path("unknown")).absolute()
        return folder.parent.parent if folder.parent.name == CHECKPOINTS else folder

    @property
    def name(self) -> str:
        """``<run>@<step>``; for a checkpoint outside a run, ``<folder>@<step>``."""
        return f"{self.home.name}@{self.step}"

    def best_move(self, sfen: str, greedy: bool = True) -> str | None:
        """Return the agent's move (USI) in a position; sampled from its policy if not ``greedy``.

        Returns ``"win"``, as in USI, if the side to move can declare a win, and None if it has no
        legal move. Raises SfenError.
        """
        (move,) = self.best_moves([sfen], greedy=greedy)
        if isinstance(move, SfenError):
            raise move
        return move

    def best_moves(
        self, sfens: Sequence[str], *, greedy: bool = True
    ) -> list[str | SfenError | None]:
        """Return ``best_move`` of many positions; an SfenError is returned instead of raised."""
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
    """Load the player of a checkpoint, or of a run's newest valid checkpoint.

    Args:
        path: folder of a checkpoint or of a run.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        seed: seed of the moves that are sampled.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged or not finite, or its weights don't
            fit its network.
        RunError: the settings of the checkpoint's run can't be read.
        DeviceError: the device can't be used.
    """
    return load_within(Path(path), device, lambda nbytes: None, seed=seed)


def load_within(
    path: Path, device: str, check_memory: Callable[[int], None], *, seed: int = 0
) -> Player:
    """Load a player as ``load`` does, unless ``check_memory`` raises.

    ``check_memory(nbytes)`` gets the size of the weights before they are copied to the device.
    """
    folder, refused = find_checkpoint(path, only=WEIGHTS)
    checkpoint = load_checkpoint(folder, only=WEIGHTS)
    place = resolve_device(device)
    trained = trained_with(folder)
    dtype = resolve_dtype(trained.compute.dtype, place)
    net = _rebuild(checkpoint)
    check_memory(sum(tensor.nbytes for tensor in net.state_dict().values()))
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
    """Build the network that a checkpoint describes and load its weights into it."""
    try:
        net = build(**checkpoint.state["net"])
        net.load_state_dict(checkpoint.tensors[WEIGHTS], strict=True)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{checkpoint.path}: no network in it: {error}") from error
    return net.eval()

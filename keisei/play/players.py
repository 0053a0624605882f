"""Loads players from runs and checkpoints.

The setting ``compute.dtype`` of a player's run determines the precision of the player's network.
"""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from keisei.config import Settings
from keisei.env import observe_sfen
from keisei.match_rules import Mates
from keisei.nets.policy import Agent, resolve_device, resolve_dtype
from keisei.nets.registry import build
from keisei.play.mailbox import ChosenMove
from keisei.play.thinking import forced_move, found_move, plant
from keisei.resources import player_folder
from keisei.shogi import Position
from keisei.shogi.position import Rule
from keisei.shogi.proof import shortest_mate
from keisei.store import (
    Checkpoint,
    CheckpointError,
    find_checkpoint,
    load_checkpoint,
)
from keisei.store.checkpoints import WEIGHTS
from keisei.store.export import trained_with
from keisei.store.layout import CHECKPOINTS


class Player:
    """An agent that answers with moves in USI notation. Use each player on one thread only."""

    def __init__(
        self,
        agent: Agent,
        *,
        max_ply: int = 256,
        declaration: Rule = "27",
        checkpoint: Path | None = None,
        step: int = 0,
        refused: tuple[CheckpointError, ...] = (),
        simulations: int = 0,
    ) -> None:
        self.agent = agent
        self.max_ply = max_ply
        """Maximum ply of the agent's training games."""
        self.declaration: Rule = declaration
        """Entering-king rule of the agent's training games."""
        self.checkpoint = checkpoint
        """Checkpoint from which the agent was loaded."""
        self.step = step
        """Number of steps for which the agent was trained."""
        self.refused = refused
        """Errors of the run's damaged checkpoints that are newer than the loaded checkpoint."""
        self.simulations = simulations
        """Number of simulations of ``best_move``'s tree search; 0: the network alone chooses."""

    @property
    def home(self) -> Path:
        """Directory of the player's run; if there is no run, the checkpoint's folder."""
        folder = (self.checkpoint or Path("unknown")).absolute()
        return folder.parent.parent if folder.parent.name == CHECKPOINTS else folder

    @property
    def name(self) -> str:
        """Name ``<run>@<step>``; for a checkpoint outside a run, ``<folder>@<step>``."""
        return f"{self.home.name}@{self.step}"

    def best_move(
        self,
        sfen: str,
        greedy: bool = True,
        mates: Mates = 1,
        *,
        simulations: int | None = None,
        seconds: float | None = None,
    ) -> str | None:
        """Return the agent's move in a position, in USI notation, or None if no move is legal.

        If the rules allow the side to move to declare a win, the result is ``"win"``, as in USI.
        Raises SfenError. ``choose`` and ``think`` describe the other arguments. Without
        ``simulations`` and ``seconds``, the player's own number of simulations counts.
        """
        position = Position(sfen)
        simulations = self.simulations if simulations is None and not seconds else simulations
        if simulations or seconds:
            return self.think(position, simulations or 0, seconds, greedy=greedy, mates=mates).usi
        (chosen,) = self.choose([position], greedy=greedy, mates=mates)
        return chosen.usi

    def think(
        self,
        position: Position,
        simulations: int = 0,
        seconds: float | None = None,
        *,
        greedy: bool = True,
        mates: Mates = 1,
    ) -> ChosenMove:
        """Return the move that a tree search chooses.

        Args:
            position: the position. The search also knows the moves that led to it.
            simulations: number of simulations; 0: as many as ``seconds`` allow.
            seconds: time for the search; None: no limit.
            greedy: True: the most visited move; False: a move sampled by the visits.
            mates: longest forced mate, in moves of both sides, that is searched in every position.

        Raises:
            ValueError: neither ``simulations`` nor ``seconds`` limits the search.
        """
        if not (simulations or seconds):
            raise ValueError("simulations or seconds: one of them must limit the search")
        forced = forced_move(position, self.declaration, mates)
        if forced is not None:
            return forced
        search = plant(
            position,
            trained_max_ply=self.max_ply,
            declaration=self.declaration,
            mates=mates,
            simulations=simulations,
        )
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        while (leaves := search.request()) is not None:
            search.answer(*self.agent.assess(leaves.observation, leaves.mask))
            if time.monotonic() >= deadline:
                search.stop()
        return found_move(search, position, greedy=greedy, draw=self.agent.draw())

    def choose(
        self,
        positions: Sequence[Position],
        *,
        greedy: bool = True,
        mates: Mates = 1,
        temperature: float = 1.0,
    ) -> list[ChosenMove]:
        """Return the agent's answer to each position.

        Args:
            positions: the positions.
            greedy: True: the most probable move; False: a move sampled from the agent's policy.
            mates: longest forced mate, in moves of both sides, that is searched: 0 (no search), 1
                or 3. If the search finds a mate, the answer is its first move.
            temperature: temperature of the sampling, if ``greedy`` is False.
        """
        found = [
            ChosenMove(declares_win=position.declaration(self.declaration) == "win")
            for position in positions
        ]
        seen = [
            observe_sfen(position.sfen(), self.max_ply, earlier=position.occurrences - 1)
            for position in positions
        ]
        wanted = [
            index
            for index, (_, mask) in enumerate(seen)
            if mask.any() and not found[index].declares_win
        ]
        if wanted:
            observations, masks = map(np.concatenate, zip(*(seen[i] for i in wanted), strict=True))
            actions, values = self.agent.choose(
                observations, masks, greedy=greedy, temperature=temperature
            )
            tops = self.agent.top(observations, masks)
            answers = zip(wanted, actions.tolist(), values.tolist(), tops, strict=True)
            for index, action, value, top in answers:
                usi, mate = positions[index].usi, shortest_mate(positions[index], mates)
                top_moves = tuple((usi(move), probability) for move, probability in top)
                if mate is None:
                    found[index] = ChosenMove(usi(action), value=value, top_moves=top_moves)
                else:
                    found[index] = ChosenMove(
                        mate.move, value=1.0, top_moves=top_moves, mate=mate.moves
                    )
        return found


def load(path: str | Path, device: str = "auto", *, seed: int = 0, simulations: int = 0) -> Player:
    """Return the player in a checkpoint, or in the newest valid checkpoint of a run.

    Args:
        path: folder of a checkpoint or of a run; ``"shipped"`` is the network in the package.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        seed: seed of the random numbers with which moves are sampled.
        simulations: number of simulations of the tree search with which ``best_move`` chooses; 0:
            the network alone chooses.

    Raises:
        CheckpointError: no checkpoint was found, or the checkpoint is damaged, contains NaN or
            infinity, or has weights that do not fit its network.
        RunError: the settings of the checkpoint's run can't be read.
        DeviceError: the device can't be used.
    """
    player = load_within(player_folder(path), device, lambda nbytes: None, seed=seed)
    player.simulations = simulations
    return player


def load_within(path: Path, device: str, room: Callable[[int], None], *, seed: int = 0) -> Player:
    """Do the same as ``load``, but call ``room`` before the weights are copied to the device.

    ``room`` gets the size of the weights in bytes. If ``room`` raises an exception, nothing is
    copied.
    """
    folder, refused = find_checkpoint(path, only=WEIGHTS)
    checkpoint = load_checkpoint(folder, only=WEIGHTS)
    return make_player(
        checkpoint, trained_with(folder), device, room, seed=seed, refused=tuple(refused)
    )


def make_player(
    checkpoint: Checkpoint,
    trained: Settings,
    device: str,
    room: Callable[[int], None] = lambda nbytes: None,
    *,
    seed: int = 0,
    refused: tuple[CheckpointError, ...] = (),
) -> Player:
    """Return the player of a checkpoint that was read before.

    ``trained`` are the settings of its training. ``load_within`` describes the other arguments.
    """
    place = resolve_device(device)
    dtype = resolve_dtype(trained.compute.dtype, place)
    net = _rebuild(checkpoint)
    room(sum(tensor.nbytes for tensor in net.state_dict().values()))
    agent = Agent(net.to(place), place, dtype, seed)
    env = trained.env
    return Player(
        agent,
        max_ply=env.max_ply,
        declaration=env.declaration,
        checkpoint=checkpoint.path,
        step=checkpoint.step,
        refused=refused,
    )


def _rebuild(checkpoint: Checkpoint) -> torch.nn.Module:
    """Return the network that the checkpoint describes, with the checkpoint's weights."""
    try:
        net = build(**checkpoint.state["net"])
        net.load_state_dict(checkpoint.tensors[WEIGHTS], strict=True)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{checkpoint.path}: cannot build its network: {error}") from error
    return net.eval()

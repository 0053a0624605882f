"""A fake run that writes its events to files, as training does: ``python trained_run.py DIR``."""

import argparse
from pathlib import Path

import anyio

from keisei.config import Settings
from keisei.events import Board, Event
from keisei.store import Database, RunDirectory
from keisei.store.board import write_board
from keisei.testing import FakeRun


class TrainedRun(FakeRun):
    """A fake run whose events are also in the files of a run."""

    def __init__(self, directory: RunDirectory, history: int, compile_seconds: float) -> None:
        super().__init__(Settings(), history=history, compile_seconds=compile_seconds)
        self._directory = directory
        self._database = Database(directory.database)
        self._database.append(self.reader.iterations)

    def _publish(self, event: Event) -> None:
        super()._publish(event)
        if isinstance(event, Board):
            write_board(self._directory.path, event)
        else:
            self._database.append([event])


async def main(args: argparse.Namespace) -> None:
    """Write until the process is killed."""
    with RunDirectory.create(Settings(), args.run) as directory:
        async with TrainedRun(directory, args.history, args.compile) as run:
            print("started", flush=True)
            await run.ended.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--history", type=int)
    parser.add_argument("--compile", type=float)
    anyio.run(main, parser.parse_args())

"""Writes the metrics of a run as TensorBoard event files in the run's folder ``tensorboard``."""

import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

try:
    from tensorboard.compat.proto.event_pb2 import Event as Record
    from tensorboard.compat.proto.event_pb2 import SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error}: run pip install 'keisei[tensorboard]'", name=error.name
    ) from None

from keisei.events import Event, Iteration
from keisei.feed.sinks import BlockingSink, RunInfo


class TensorBoardSink(BlockingSink):
    """Writes a scalar for each metric of each iteration. The scalars have 32 bits."""

    name = "tensorboard"

    def __init__(self, run: RunInfo) -> None:
        super().__init__()
        self._folder = run.path / "tensorboard"
        self._records: RecordWriter | None = None

    def write_blocking(self, events: Sequence[Event]) -> None:
        """Write the metrics of all iterations among the events."""
        iterations = [event for event in events if isinstance(event, Iteration)]
        if not iterations:
            return
        if self._records is None:
            self._records = self._open(iterations[0])
        try:
            for event in iterations:
                values = [
                    Summary.Value(tag=tag, simple_value=value)
                    for tag, value in event.values.items()
                ]
                _write(self._records, event, summary=Summary(value=values))
            self._records.flush()
        except OSError:
            # TensorBoard reads a file only up to an incomplete record, so begin another file.
            with suppress(OSError):
                self._records.close()
            self._records = None
            raise

    def close_blocking(self) -> None:
        """Close the file."""
        if self._records is not None:
            self._records.close()

    def _open(self, first: Iteration) -> RecordWriter:
        """Begin a file. Its start record makes TensorBoard forget the steps from ``first`` on.

        A resumed run repeats the steps after its checkpoint. An older file can contain these steps.
        """
        self._folder.mkdir(exist_ok=True)
        # TensorBoard reads the files in the order of their names.
        stamp = f"{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        path = self._folder / f"events.out.tfevents.{stamp}"
        records = RecordWriter(path.open("xb"))
        _write(records, first, file_version="brain.Event:2")
        _write(records, first, session_log=SessionLog(status=SessionLog.START))
        return records


def _write(records: RecordWriter, event: Iteration, **content: object) -> None:
    record = Record(wall_time=event.time, step=event.step, **content)
    records.write(record.SerializeToString())

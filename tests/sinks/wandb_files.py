"""Reads the files that W&B writes in offline mode."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEADER = 7
"""Bytes at the start of the file (``:W&B``, a magic number, the version)."""
BLOCK = 32_768
FULL, LAST = 1, 4


@dataclass
class WandbRun:
    """What one ``.wandb`` file says about a run."""

    id: str = ""
    project: str = ""
    name: str = ""
    group: str = ""
    tags: list[str] = field(default_factory=list)
    exit_code: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    axes: dict[str, str] = field(default_factory=dict)
    """Axis of each metric, or of each pattern of metrics."""
    artifacts: list[tuple[str, str, list[str]]] = field(default_factory=list)
    """Kind, name and files of each artifact."""


def read_wandb(file: Path) -> WandbRun:
    """Read a ``.wandb`` file: LevelDB's log format, whose records are W&B's protobuf messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    run = WandbRun()
    for data in _records(file.read_bytes()):
        record = Record.FromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.id, run.project = record.run.run_id, record.run.project
            run.name, run.group = record.run.display_name, record.run.run_group
            run.tags = list(record.run.tags)
            run.config |= _items(record.run.config.update)
        elif kind == "history":
            run.rows.append(_items(record.history.item))
        elif kind == "summary":
            run.summary |= _items(record.summary.update)
        elif kind == "metric":
            run.axes[record.metric.glob_name or record.metric.name] = record.metric.step_metric
        elif kind == "request" and record.request.HasField("log_artifact"):
            _add_artifact(run, record.request.log_artifact.artifact)
        elif kind == "artifact":
            _add_artifact(run, record.artifact)
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def _add_artifact(run: WandbRun, artifact: Any) -> None:
    files = sorted(entry.path for entry in artifact.manifest.contents)
    run.artifacts.append((artifact.type, artifact.name, files))


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a LevelDB log. A record's fragments are in consecutive blocks."""
    position, parts = HEADER, b""
    while position + HEADER <= len(data):
        if BLOCK - position % BLOCK < HEADER:
            position += BLOCK - position % BLOCK
            continue
        length = int.from_bytes(data[position + 4 : position + 6], "little")
        kind, position = data[position + 6], position + HEADER
        parts += data[position : position + length]
        position += length
        if kind in {FULL, LAST}:
            yield parts
            parts = b""

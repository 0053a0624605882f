"""Runs that earlier versions made; ``fixtures/README.md`` says how."""

import tarfile
from pathlib import Path

FIXTURES = Path(__file__).parent / "fixtures"


def unpack(number: int, path: Path) -> Path:
    """Unpack the run of a format into ``path``."""
    with tarfile.open(FIXTURES / f"run-of-format-{number}.tar.xz") as tar:
        tar.extractall(path, filter="data")
    return path


def contents(run: Path) -> dict[str, bytes]:
    """The files of a run by name."""
    files = (file for file in run.rglob("*") if file.is_file())
    return {file.relative_to(run).as_posix(): file.read_bytes() for file in files}

"""What the tests of the commands share."""

from pathlib import Path

import pytest
from command_process import TINY


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration file for a run of seconds."""
    file = tmp_path / "tiny.toml"
    file.write_text(TINY)
    return file

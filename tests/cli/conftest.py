"""What the tests of the commands share."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_process import TINY


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration file for a run of seconds."""
    file = tmp_path / "tiny.toml"
    file.write_text(TINY)
    return file


@pytest.fixture(scope="module", autouse=True)
def signal_handlers() -> Iterator[None]:
    """Restore the reactions to signals, which commands change in the process of the tests too."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)

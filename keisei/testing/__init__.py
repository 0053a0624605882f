"""A fake run, for tests of programs that embed Keisei: no torch, no training, no files."""

from keisei.testing.reader import FakeReader
from keisei.testing.run import FakeRun

__all__ = ["FakeReader", "FakeRun"]

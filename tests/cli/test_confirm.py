"""The question before files are removed."""

import argparse
import io

import pytest

from keisei.cli.confirm import confirmed
from keisei.cli.errors import UsageError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "done"), [("y\n", True), ("Yes\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_only_yes_removes(
    answer: str, done: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert confirmed("remove?", argparse.Namespace(yes=False)) is done
    said = capsys.readouterr().err
    assert said.startswith("remove? [y/N] ")
    assert ("nothing was removed" in said) is not done


def test_without_a_terminal_the_flag_is_necessary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(UsageError, match="--yes: missing"):
        confirmed("remove?", argparse.Namespace(yes=False))
    assert confirmed("remove?", argparse.Namespace(yes=True))

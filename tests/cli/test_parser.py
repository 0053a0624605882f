"""Flags before the command, and similar names."""

import argparse
from collections.abc import Iterator

import pytest

from keisei.cli import main
from keisei.cli.parser import Parser, command_first


def parsed(line: str) -> dict[str, object]:
    found = vars(main._parse(line.split()))
    return {key: value for key, value in found.items() if key != "parser"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("--config base serve --port 1", "serve --config base --port 1"),
        ("--ppo.gamma .9 train --json", "train --ppo.gamma .9 --json"),
        ("--json train", "train --json"),
        ("--resume --run x train", "train --resume --run x"),
        ("--run x --resume train", "train --resume --run x"),
        ("--resume auto train", "train --resume auto"),
        ("--json config --config base show", "config show --json --config base"),
        ("--json bench env", "bench env --json"),
        ("--config a train --config b", "train --config a --config b"),
        ("--json moves startpos moves 7g7f", "moves startpos moves 7g7f --json"),
        ("--run=train train", "train --run train"),
    ],
)
def test_flags_may_stand_before_the_command(before: str, after: str) -> None:
    assert parsed(before) == parsed(after)


def test_a_value_that_looks_like_a_command_stays_a_value() -> None:
    found = parsed("--run train serve --config games")
    assert (found["command"], str(found["run"]), found["config"]) == ("serve", "train", ["games"])


def test_words_after_two_dashes_stay_where_they_are() -> None:
    parser = Parser()
    parser.add_subparsers().add_parser("run")
    assert command_first(["--", "run"], parser) == ["--", "run"]


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from leaves(child)


def test_no_flag_takes_a_value_in_one_command_and_none_in_another() -> None:
    kinds: dict[str, set[bool]] = {}
    for parser in leaves(main._parse(["train"]).parser):
        for action in parser._actions:
            for flag in action.option_strings:
                kinds.setdefault(flag, set()).add(action.nargs == 0)
    assert [flag for flag, kind in kinds.items() if len(kind) == 2] == []


def test_every_help_fits_80_columns_and_explains_every_argument(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for parser in leaves(main._parse(["train"]).parser):
        shown = parser.format_help()
        assert max(map(len, shown.splitlines())) <= 80, parser.prog
        assert parser.description, parser.prog
        commands = argparse._SubParsersAction
        actions = [a for a in parser._actions if not isinstance(a, commands)]
        assert [a.dest for a in actions if not a.help] == [], parser.prog


@pytest.mark.parametrize(
    ("line", "usage"),
    [
        ("--help", "usage: keisei [-h]"),
        ("config --help", "usage: keisei config [-h]"),
        ("--json config show --help", "usage: keisei config show [-h]"),
    ],
)
def test_help_is_that_of_the_command_before_it(
    line: str, usage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main.main(line.split())
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(usage)

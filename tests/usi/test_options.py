import re
from pathlib import Path

import pytest

from keisei.usi.options import OPTIONS, Options


def test_names_and_values_ignore_case() -> None:
    options = Options()
    for text in ("name mULTIpv value 4", "name Sampling value TRUE", "name device value CPU"):
        assert options.set(text) is None
    assert options.number("MultiPV") == 4
    assert options.flag("Sampling")
    assert options.text("Device") == "cpu"
    assert options.set("name USI_MultiPV value 2") is None
    assert options.number("MultiPV") == 2


def test_files_keep_their_case_and_may_contain_spaces() -> None:
    options = Options()
    assert options.set("name BookFile value /home/Me/my Book.usi") is None
    assert options.text("BookFile") == "/home/Me/my Book.usi"
    assert options.set("name BookFile value") is None
    assert options.text("BookFile") == "<empty>"


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ("CSARule27", "CSARule27"), ("csarule24", "CSARule24"), ("CSARule24H", "CSARule24"),
        ("27", "CSARule27"), ("none", "NoEnteringKing"), ("run", "run"),
    ],
)  # fmt: skip
def test_the_usual_names_of_entering_king_rules_are_understood(value: str, meaning: str) -> None:
    options = Options()
    assert options.set(f"name EnteringKingRule value {value}") is None
    assert options.text("EnteringKingRule") == meaning


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name Skill Level value 3", "no option Skill Level"),
        ("name Clear Hash", "no option Clear Hash"),
        ("name MultiPV value 0", "MultiPV: must be a whole number from 1 to 20 (got '0')"),
        ("name MultiPV value", "MultiPV: must be a whole number"),
        ("name Sampling value maybe", "Sampling: must be true or false (got 'maybe')"),
        ("name Device", "Device: must be one of auto, cpu, cuda (got '')"),
        ("name EnteringKingRule value TryRule", "EnteringKingRule: must be one of run, CSARule27"),
        ("", "write setoption name NAME value VALUE"),
        ("MultiPV 3", "write setoption name NAME value VALUE"),
    ],
)
def test_a_wrong_option_is_refused_with_a_reason(text: str, problem: str) -> None:
    answer = Options().set(text)
    assert answer
    assert answer.startswith(problem)


def test_options_that_guis_set_for_every_engine_are_accepted() -> None:
    assert Options().set("name USI_ShowCurrLine value true") is None


def test_a_copy_does_not_change_later() -> None:
    options = Options()
    before = options.copy()
    options.set("name Seed value 5")
    assert (before.number("Seed"), options.number("Seed")) == (0, 5)


def test_no_name_has_a_space_and_every_default_is_allowed() -> None:
    """ShogiHome drops options whose names contain a space."""
    for option in OPTIONS:
        assert " " not in option.name
        assert option.problem_with(option.default) is None


def test_the_guide_lists_every_option_with_its_default() -> None:
    guide = Path(__file__).parents[2] / "docs/guide/play-with-a-gui.md"
    rows = re.findall(r"^\| `(\w+)` \| `?([^|`]+?)`? \|", guide.read_text("utf-8"), re.MULTILINE)
    assert rows == [(option.name, option.default) for option in OPTIONS]

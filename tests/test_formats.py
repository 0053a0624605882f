"""The numbers of the formats: the guide lists them, and a newer format is refused by name."""

import re
from pathlib import Path

from keisei import formats
from keisei.store.migrations import VERSION

GUIDE = Path(__file__).parents[1] / "docs/guide/formats.md"


def test_only_a_higher_number_is_too_new() -> None:
    said = "x: made by a newer Keisei: format 7; this one reads up to format 3"
    assert formats.too_new(Path("x"), 7, 3) == said
    for found in (3, 1, -1, None, "7", 7.5, [7]):
        assert formats.too_new(Path("x"), found, 3) == ""


def test_the_guide_lists_the_newest_format_of_each_file() -> None:
    rows = re.findall(r"^\| ([^|]+?) +\| (\d+) ", GUIDE.read_text("utf-8"), re.MULTILINE)
    assert {name: int(number) for name, number in rows} == {
        "`run.toml`": formats.SETTINGS,
        "`manifest.json` of a checkpoint": formats.MANIFEST,
        "`state.json` and the tensors of a checkpoint": formats.STATE,
        "`keisei.db`": VERSION,
        "`board.json`": formats.BOARD,
        "`wandb.json`": formats.WANDB,
    }

"""The table of faults in the guide and the tests of faults name the same faults."""

import re
from pathlib import Path

FAULTS = Path(__file__).parent
GUIDE = FAULTS.parents[1] / "docs/guide/reliability.md"
TABLES = ("test_disk.py", "test_machine.py")


def test_each_row_of_the_table_has_its_test_and_each_test_its_row() -> None:
    rows = [line for line in GUIDE.read_text().splitlines() if line.startswith("| ")]
    named = {name for row in rows for name in re.findall(r"`(test_\w+)` \|$", row)}
    tests = {
        name
        for file in TABLES
        for name in re.findall(r"^def (test_\w+)", (FAULTS / file).read_text(), re.MULTILINE)
    }
    assert named == tests


def test_the_tests_look_for_the_messages_that_the_guide_promises() -> None:
    code = "".join((FAULTS / file).read_text() for file in TABLES)
    rows = [line.split(" | ")[2] for line in GUIDE.read_text().splitlines() if "`test_" in line]
    promised = {text for row in rows for text in re.findall(r"`([^`]+)`", row)}
    assert [text for text in promised if text not in code] == []

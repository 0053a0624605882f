"""``keisei bench``: its report's machine and versions."""

import importlib.metadata
import os

import pytest

from keisei.cli.bench import command
from keisei.cli.main import main


def test_the_machine_has_at_least_one_core_and_some_memory() -> None:
    machine = command.machine()
    assert machine["cpu"]
    assert 1 <= machine["cores"] <= (os.cpu_count() or 1)
    assert machine["memory_gib"] > 0


def test_the_versions_are_those_of_the_installed_packages() -> None:
    assert command.versions()["torch"] == importlib.metadata.version("torch")


def test_a_report_for_people_has_one_line_a_value() -> None:
    report = {"ratio": 0.51234, "games": {"256": 1_234_567.0}, "device": "cpu"}
    assert [line.split() for line in command._lines(report)] == [
        ["ratio", "0.5123"],
        ["games"],
        ["256", "1.235e+06"],
        ["device", "cpu"],
    ]


def test_an_unknown_benchmark_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["bench", "chess"]) == 2
    assert "contention" in capsys.readouterr().err

"""Plugins are found by their entry points; a mistyped name is told with the names there are."""

from pathlib import Path

import pytest

from keisei.plugins import installed, no_such_name


def test_an_installed_package_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "someones-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someones\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[keisei.sinks]\nkafka = someones:Kafka\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert installed("keisei.sinks")["kafka"].value == "someones:Kafka"
    assert "kafka" not in installed("keisei.callbacks")


@pytest.mark.parametrize(
    ("known", "text"),
    [
        (
            ("kafka", "mail"),
            "plugins.sinks: 'kafak' is not one of kafka, mail, did you mean kafka?",
        ),
        (("mail",), "plugins.sinks: 'kafak' is not one of mail"),
        ((), "plugins.sinks: 'kafak' is not installed"),
    ],
)
def test_an_unknown_name_is_told_with_the_known_names(known: tuple[str, ...], text: str) -> None:
    assert no_such_name("plugins.sinks", "kafak", known) == text

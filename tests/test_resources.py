"""Finding the files that ship beside the code."""

from pathlib import Path

import pytest

from keisei import resources
from keisei.resources import (
    ResourceError,
    config_file,
    page_directory,
    player_folder,
    shipped_network,
)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that stands for the parent of the package."""
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "keisei")
    return tmp_path


def create(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


def test_the_page_of_this_checkout_is_found() -> None:
    assert (page_directory() / "index.html").is_file()


def test_a_wheel_has_the_files_inside_the_package(folders: Path) -> None:
    inside = create(folders / "keisei/_data/app/index.html")
    assert page_directory() == inside.parent
    file = create(folders / "keisei/_data/configs/quickstart.toml")
    assert config_file("quickstart") == config_file("quickstart.toml") == file


def test_a_checkout_has_the_files_beside_the_package(folders: Path) -> None:
    beside = create(folders / "app/index.html")
    assert page_directory() == beside.parent


def test_the_error_names_the_missing_file(folders: Path) -> None:
    with pytest.raises(ResourceError, match=r"app/index\.html"):
        page_directory()


@pytest.mark.parametrize("name", ["nope", "../secret", "/etc/passwd", ""])
def test_the_error_of_an_unknown_configuration_lists_the_shipped_ones(
    folders: Path, name: str
) -> None:
    create(folders / "configs/quickstart.toml")
    create(folders / "configs/base.toml")
    create(folders / "secret.toml")
    with pytest.raises(ResourceError, match="base, quickstart"):
        config_file(name)


def test_the_text_shipped_is_the_network_in_the_package_and_everything_else_is_a_path(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = create(folders / "keisei/shipped/shipped-3f2a9c/CARD.md").parent
    (folders / "shipped").mkdir()
    monkeypatch.chdir(folders)
    assert player_folder("shipped") == shipped_network() == network
    for path in "./shipped", "runs/mine", Path("shipped"):
        assert player_folder(path) == Path(path)


def test_the_error_names_the_missing_network(folders: Path) -> None:
    with pytest.raises(ResourceError, match=r"shipped/shipped-\* is missing"):
        shipped_network()

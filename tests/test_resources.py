"""What ships beside the code is found."""

from pathlib import Path

import pytest

from keisei import resources
from keisei.resources import ResourceError, config_file, page_directory


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place to find things in: the parent of the package."""
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "keisei")
    return tmp_path


def put(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


def test_the_page_of_this_checkout_is_found() -> None:
    assert (page_directory() / "index.html").is_file()


def test_a_wheel_has_them_inside_the_package(folders: Path) -> None:
    inside = put(folders / "keisei/_data/app/index.html")
    assert page_directory() == inside.parent
    file = put(folders / "keisei/_data/configs/quickstart.toml")
    assert config_file("quickstart") == config_file("quickstart.toml") == file


def test_a_checkout_has_them_beside_the_package(folders: Path) -> None:
    beside = put(folders / "app/index.html")
    assert page_directory() == beside.parent


def test_what_is_missing_is_said(folders: Path) -> None:
    with pytest.raises(ResourceError, match=r"app/index\.html"):
        page_directory()


@pytest.mark.parametrize("name", ["nope", "../secret", "/etc/passwd", ""])
def test_other_configs_are_refused_by_name(folders: Path, name: str) -> None:
    put(folders / "configs/quickstart.toml")
    put(folders / "configs/base.toml")
    put(folders / "secret.toml")
    with pytest.raises(ResourceError, match="base, quickstart"):
        config_file(name)

"""Find the web page and the shipped configurations, in a checkout or an installed package."""

from pathlib import Path

from keisei.hint import did_you_mean

_PACKAGE = Path(__file__).parent


class ResourceError(FileNotFoundError):
    """A file that ships with Keisei is missing."""


def page_directory() -> Path:
    """Return the folder of the web page. Raises ResourceError."""
    return _folder("app", "index.html")


def shipped_configs() -> list[str]:
    """Return the names of the shipped configurations. Raises ResourceError."""
    return sorted(path.stem for path in _folder("configs", "quickstart.toml").glob("*.toml"))


def config_file(name: str) -> Path:
    """Return the file of a shipped configuration. Raises ResourceError.

    ``name``: the configuration's name, with or without ``.toml``.
    """
    folder = _folder("configs", "quickstart.toml")
    file = folder / f"{name.removesuffix('.toml')}.toml"
    if file.parent != folder or not file.is_file():
        shipped = shipped_configs()
        hint = did_you_mean(file.stem, shipped)
        raise ResourceError(
            f"no shipped configuration ({', '.join(shipped)}) is named {name!r}{hint}"
        )
    return file


def _folder(name: str, must_hold: str) -> Path:
    """Return the folder ``name`` of an installed package (in ``_data``) or of a checkout."""
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if (folder / must_hold).is_file():
            return folder
    raise ResourceError(
        f"{name}/{must_hold} is missing from the installation in {_PACKAGE}: install Keisei again"
    )

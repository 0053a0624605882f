"""Where the page and the shipped configurations are: in a checkout, or in an installed wheel."""

from pathlib import Path

from keisei.hint import did_you_mean

_PACKAGE = Path(__file__).parent


class ResourceError(FileNotFoundError):
    """A file that ships with Keisei isn't there."""


def page_directory() -> Path:
    """Folder of the web page. Raises ResourceError."""
    return _folder("app", "index.html")


def config_file(name: str) -> Path:
    """A shipped configuration by its name, with or without ``.toml``. Raises ResourceError."""
    folder = _folder("configs", "quickstart.toml")
    file = folder / f"{name.removesuffix('.toml')}.toml"
    if file.parent != folder or not file.is_file():
        shipped = sorted(path.stem for path in folder.glob("*.toml"))
        hint = did_you_mean(file.stem, shipped)
        raise ResourceError(
            f"no shipped configuration ({', '.join(shipped)}) is named {name!r}{hint}"
        )
    return file


def _folder(name: str, must_hold: str) -> Path:
    """A wheel carries the folder in the package's ``_data``, a checkout beside the package."""
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if (folder / must_hold).is_file():
            return folder
    raise ResourceError(f"{name}/{must_hold} is neither in {_PACKAGE} nor beside it")

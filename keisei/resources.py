"""Find the page, the configurations and the network that Keisei ships, also once installed."""

from pathlib import Path

from keisei.hint import did_you_mean

_PACKAGE = Path(__file__).parent
SHIPPED = "shipped"
"""Name of the player whose network ships with Keisei."""


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


def player_folder(player: str | Path) -> Path:
    """Return the folder of the run or checkpoint that ``player`` names. Raises ResourceError.

    The text ``shipped`` names the network that ships with Keisei. Any other text is a path, and so
    is ``./shipped``; a ``Path`` is never a name.
    """
    return shipped_network() if player == SHIPPED else Path(player)


def shipped_network() -> Path:
    """Return the run that holds the network that ships with Keisei. Raises ResourceError.

    The folder's name, such as ``shipped-3f2a9c``, ends with the first digits of the weights'
    SHA-256. This name goes into tables and ratings, so different weights have different names.
    """
    for folder in (_PACKAGE / SHIPPED).glob(f"{SHIPPED}-*"):
        return folder
    raise _missing(f"{SHIPPED}/{SHIPPED}-*")


def _folder(name: str, must_hold: str) -> Path:
    """Return the folder ``name`` of an installed package (in ``_data``) or of a checkout."""
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if (folder / must_hold).is_file():
            return folder
    raise _missing(f"{name}/{must_hold}")


def _missing(file: str) -> ResourceError:
    return ResourceError(
        f"{file} is missing from the installation in {_PACKAGE}: install Keisei again"
    )

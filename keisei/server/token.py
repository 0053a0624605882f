"""The file with the access token: made once, readable only by its owner."""

import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{32,512}")
"""Pattern of a token. These characters are allowed in an ``Authorization: Bearer`` header."""


class TokenFileError(OSError):
    """The file cannot be used. The message names the file and the problem."""


class TokenFile(NamedTuple):
    """The token in the file. ``SecretStr`` keeps the token out of messages and tracebacks."""

    token: SecretStr
    made: bool
    """Whether ``open_token`` has made the file."""


def open_token(name: str) -> TokenFile:
    """Read the token from the file ``name``. If the file is missing, make it with a new token.

    Blocks, because it reads the disk. Raises TokenFileError.
    """
    path = Path(name).expanduser()
    try:
        made = _make(path)
        return TokenFile(SecretStr(_read(path)), made)
    except TokenFileError:
        raise
    except OSError as error:
        raise TokenFileError(f"server.token_file: {path}: {error.strerror}") from None


def _make(path: Path) -> bool:
    """Make the file with a new token. If the file already exists, only return False."""
    with suppress(FileExistsError):
        # No other user can ever open the file, because it is created with its final mode.
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        return True
    return False


def _read(path: Path) -> str:
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise TokenFileError(f"server.token_file: {path} is not a regular file")
        if mode & 0o077:
            raise TokenFileError(
                f"server.token_file: other users have access to {path} (mode {mode & 0o777:04o}): "
                f"delete it to get a new token, or run: chmod 600 {path}"
            )
        text = file.read(1024).decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(text):
        raise TokenFileError(
            f"server.token_file: {path} holds no token (one line of 32 to 512 letters, digits and "
            "._~+/=-): delete the file to get a new token"
        )
    return text

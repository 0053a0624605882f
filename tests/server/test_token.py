"""The token file: made once, secret, refused if others have access."""

import os
import re
from pathlib import Path

import pytest

from keisei.server.token import TokenFileError, open_token


def test_a_missing_file_is_made_once_with_a_long_random_token_for_its_owner_only(
    tmp_path: Path,
) -> None:
    path = tmp_path / "token"
    umask = os.umask(0)
    try:
        first = open_token(str(path))
    finally:
        os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o600
    assert re.fullmatch(r"[\w-]{43}", first.token.get_secret_value())
    again = open_token(str(path))
    assert (first.made, again.made) == (True, False)
    assert again.token == first.token
    assert open_token(str(tmp_path / "other")).token != first.token


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    open_token(str(path))
    path.chmod(mode)
    with pytest.raises(TokenFileError, match=rf"server\.token_file.*chmod 600 {path}"):
        open_token(str(path))


@pytest.mark.parametrize(
    "text",
    [b"", b"\n", b"short", b"a" * 31, b"a" * 600, b"a" * 40 + b"\nb", b"\xff" * 40, b"a b" * 20],
)
def test_a_file_without_a_token_is_refused_without_showing_it(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_bytes(text)
    with pytest.raises(TokenFileError, match="holds no token") as caught:
        open_token(str(path))
    assert "aaaaa" not in str(caught.value)


def test_a_token_of_ones_own_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text("x" * 32)
    assert open_token(str(path)).token.get_secret_value() == "x" * 32


def test_a_folder_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none" / "token"):
        with pytest.raises(TokenFileError, match=rf"server\.token_file: {path}"):
            open_token(str(path))


def test_the_token_is_not_in_the_text_of_its_object(tmp_path: Path) -> None:
    found = open_token(str(tmp_path / "token"))
    assert found.token.get_secret_value() not in f"{found} {found!r}"

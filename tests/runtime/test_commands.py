"""Commands by name."""

from typing import get_args, get_type_hints

from keisei import Keisei
from keisei.runtime.commands import COMMANDS


def test_submit_takes_the_names_of_all_commands() -> None:
    assert set(get_args(get_type_hints(Keisei.submit)["name"])) == COMMANDS.keys()

"""``keisei config``: the resolved settings, and their schema."""

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keisei.cli import settings

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from pydantic import BaseModel


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei config show`` and ``keisei config schema``."""
    parser = subparsers.add_parser(
        "config", help="show the settings, or their schema", description=__doc__
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="the settings as they come out of all sources, as TOML")
    settings.add_config(show)
    show.add_argument("--json", action="store_true", help="print JSON instead of TOML")
    actions.add_parser("schema", help="JSON schema: every key, its type, bounds and meaning")


def run(args: argparse.Namespace) -> int:
    """Print the settings or their schema."""
    from keisei.config import Settings

    if args.action == "schema":
        print(json.dumps(Settings.model_json_schema(), indent=2))
        return 0
    chosen = settings.load(args)
    if args.json:
        print(chosen.model_dump_json(indent=2))
    else:
        print("\n".join(_toml(chosen)))
    return 0


def _toml(settings: "BaseModel") -> Iterator[str]:
    """Two levels of TOML. JSON's text of a string, number, boolean or list is TOML's as well."""
    from pydantic import BaseModel

    sections = []
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            sections += ["", f"[{name}]", *_toml(value)]
        else:
            text = json.dumps(settings.model_dump(mode="json")[name], ensure_ascii=False)
            yield f"{f'{name} = {text}':<32}# {field.description}"
    yield from sections

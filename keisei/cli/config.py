"""``keisei config``: print the settings from all sources, or their schema."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from keisei.cli import settings
from keisei.toml import to_toml

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from pydantic import BaseModel


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add ``keisei config show`` and ``keisei config schema``."""
    parser = subparsers.add_parser(
        "config", help="print the settings, or their schema", description=__doc__
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="print the settings from all sources as TOML")
    settings.add_config(show)
    show.add_argument("--json", action="store_true", help="print JSON instead of TOML")
    actions.add_parser(
        "schema", help="print the JSON schema: every key, its type, bounds and meaning"
    )


def run(args: argparse.Namespace) -> int:
    """Print the settings or the JSON schema of the settings."""
    from keisei.config import Settings

    if args.action == "schema":
        print(json.dumps(Settings.model_json_schema(), indent=2))
        return 0
    chosen = settings.load(args)
    if args.json:
        print(chosen.model_dump_json(indent=2))
    else:
        print(to_toml(chosen.model_dump(mode="json"), _descriptions(Settings)), end="")
    return 0


def _descriptions(settings: "type[BaseModel]") -> dict[str, Any]:
    """Return the descriptions of all settings, in dictionaries nested like the settings."""
    from pydantic import BaseModel

    return {
        name: _descriptions(kind)
        if isinstance(kind := field.annotation, type) and issubclass(kind, BaseModel)
        else field.description
        for name, field in settings.model_fields.items()
    }

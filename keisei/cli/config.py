"""``keisei config``: print the settings or their schema, or bring a file up to date."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from keisei.cli import settings
from keisei.toml import to_toml

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from keisei.settings_sources import Layer


def add_parser(subparsers: "_SubParsersAction[Any]") -> None:
    """Add the actions of ``keisei config``."""
    parser = subparsers.add_parser(
        "config",
        help="print the settings or their schema, or bring a file up to date",
        description=__doc__,
    )
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    title = "print all settings, from all sources, as TOML"
    show = actions.add_parser("show", help=title, description=f"keisei config show: {title}.")
    settings.add_config(show)
    show.add_argument(
        "--origin",
        action="store_true",
        help="print where each value comes from: a file, the environment, the command line or, "
        "if none of these has the setting, the default",
    )
    show.add_argument("--json", action="store_true", help="print JSON instead of TOML")
    title = "print the JSON schema: every key, its type, bounds and meaning"
    actions.add_parser("schema", help=title, description=f"keisei config schema: {title}.")
    title = "print a TOML file of an earlier version with the new names of its settings"
    migrate = actions.add_parser(
        "migrate", help=title, description=f"keisei config migrate: {title}."
    )
    migrate.add_argument("file", type=Path, metavar="FILE", help="TOML file, or a run's run.toml")
    migrate.add_argument(
        "--write", action="store_true", help="change the file, print only the changes"
    )


def run(args: argparse.Namespace) -> int:
    """Carry out the action."""
    from keisei.config import Settings

    if args.action == "migrate":
        from keisei.cli import config_migration

        return config_migration.run(args)
    if args.action == "schema":
        print(json.dumps(Settings.model_json_schema(), indent=2))
        return 0
    layers = settings.read_layers(args)
    values = settings.from_layers(layers).model_dump(mode="json")
    sources = _origins(values, layers)
    if args.json:
        print(json.dumps(_pairs(values, sources) if args.origin else values, indent=2))
    else:
        print(to_toml(values, sources if args.origin else _descriptions(Settings)), end="")
    return 0


def _origins(values: dict[str, Any], layers: "list[Layer]") -> dict[str, Any]:
    """Return the origin of each setting, in dictionaries nested like the settings."""
    from keisei.config import Settings
    from keisei.settings_sources import origin

    return {
        name: {key: origin(layers, [name, key]) for key in value}
        if _is_section(Settings.model_fields[name])
        else origin(layers, [name])
        for name, value in values.items()
    }


def _pairs(values: Any, sources: Any) -> Any:
    """Return the settings as JSON, with value and origin for each setting."""
    if isinstance(sources, dict):
        return {key: _pairs(values[key], sources[key]) for key in sources}
    return {"value": values, "origin": sources}


def _descriptions(settings: "type[BaseModel]") -> dict[str, Any]:
    """Return the descriptions of all settings, in dictionaries nested like the settings."""
    return {
        name: _descriptions(cast("type[BaseModel]", field.annotation))
        if _is_section(field)
        else field.description
        for name, field in settings.model_fields.items()
    }


def _is_section(field: "FieldInfo") -> bool:
    from keisei.config import Section

    return isinstance(field.annotation, type) and issubclass(field.annotation, Section)

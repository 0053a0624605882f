"""The web service. ``create_app(source)`` returns the Starlette application of one run."""

from keisei.server.app import create_app

__all__ = ["create_app"]

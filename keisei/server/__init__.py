"""The web service: ``create_app(source)`` makes a Starlette application of a run."""

from keisei.server.app import create_app

__all__ = ["create_app"]

"""Sinks of other tools, which the run itself builds from its settings."""

"""Sinks and callbacks that the settings name: Keisei's own and those of installed packages."""

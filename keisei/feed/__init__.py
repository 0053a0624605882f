"""Carries the events of a run to streams, to readers in the same program, and to sinks."""

"""Events on their way out of a run: to streams, to readers in the program, to sinks."""

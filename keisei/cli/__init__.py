"""The command line: one module a subcommand. Parse, build, run, exit code."""

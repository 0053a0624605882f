"""The command line ``keisei``: one module for each subcommand."""

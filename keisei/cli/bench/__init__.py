"""The benchmarks of ``keisei bench``: one module for each benchmark."""

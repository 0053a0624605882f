"""``tools/bench env`` and ``tools/bench ppo``: compare Keisei with the same work in cshogi."""

import importlib
import sys

COMPARISONS = ("env", "ppo")


def main() -> int:
    """Run a comparison. Return its exit code."""
    name, *words = sys.argv[1:] or [""]
    if name not in COMPARISONS:
        print(f"tools/bench: {name!r} is not one of {', '.join(COMPARISONS)}", file=sys.stderr)
        return 2
    code: int = importlib.import_module(f"compare_{name}").main(words)
    return code


sys.exit(main())

"""Manifests with a right checksum, as an attacker or a later version might write them."""

import json
from pathlib import Path
from typing import Any

from keisei.store.manifest import _manifest_digest


def forge(folder: Path, **change: Any) -> None:
    """Change the manifest of a checkpoint, and give it the right checksum."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["sha256"]
    manifest |= change
    manifest["sha256"] = _manifest_digest(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))

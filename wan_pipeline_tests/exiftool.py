"""What exiftool, a reader that is not ours, finds in image bytes."""

from __future__ import annotations

import json
import subprocess
from typing import Any

__all__ = ["exiftool"]

TAGS = ["-XMP:all", "-PNG:all", "-Validate", "-Warning", "-Error"]


def exiftool(data: bytes) -> dict[str, Any]:
    """Every XMP and PNG tag by `Group:Name`, and exiftool's warnings."""
    done = subprocess.run(
        ["exiftool", "-json", "-G1", "-a", "-struct", *TAGS, "-"],
        input=data,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)[0]

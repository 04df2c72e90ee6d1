"""Read exports with `mlcroissant` and print what it found, as JSON by folder.

A process of its own: the package takes over logging for everybody in its process.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import mlcroissant


def read(folder: str) -> dict[str, Any]:
    """Issues, rows and images of one export; every record set that is described is read."""
    dataset = mlcroissant.Dataset(jsonld=f"{folder}/croissant.json")
    issues = dataset.metadata.ctx.issues
    records = {each.uuid: list(dataset.records(each.uuid)) for each in dataset.metadata.record_sets}
    rows, files = records["rows-records"], records.get("files-records", [])
    if "rows/row" in rows[0]:
        told = [json.loads(row["rows/row"]) for row in rows]
    else:
        told = [{name.removeprefix("rows/"): row[name] for name in row} for row in rows]
    if "rows/image" in rows[0]:
        images = [row["rows/image"] for row in rows]
    else:
        images = [row["files/image"] for row in files]
    return {
        "errors": list(issues.errors),
        "warnings": list(issues.warnings),
        "records": {name: len(each) for name, each in records.items()},
        "seeds": sorted(row["seed"] for row in told),
        "hashes": sorted(_text(row["file_sha256"]) for row in told),
        "sizes": [image.size for image in images],
    }


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


if __name__ == "__main__":
    json.dump({folder: read(folder) for folder in sys.argv[1:]}, sys.stdout)

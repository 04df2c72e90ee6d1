"""What exporting 100,000 images takes, against the writers of `datasets` and `webdataset`.

Run it as ``python benchmarks/exports.py [IMAGES]``. Every row is a process of its own over the same
generated release (PNG files of about 8 KB, each with bytes of its own), so that peaks of memory can
be compared; the seconds carry the machine's noise, the ratios less of it. Ours does more: it holds
every file against its hash, marks it, writes card, index, Croissant and the hash of every file. The
last rows leave the mark out, to be nearer to the others.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES = 100_000
CHUNK = 5_000
SHARD_MB = 250
LIMIT_MB = 300


def generate(root: Path, images: int) -> None:
    """A release with so many images, in a profile's data folder."""
    import pyarrow as pa  # noqa: PLC0415  a child that measures memory must not import it unasked

    from wan_pipeline.dataset.release.tables import RELEASE_IMAGES  # noqa: PLC0415
    from wan_pipeline_tests.release_fixture import made_row, write_release  # noqa: PLC0415

    plain, files = sample(), dict[str, int]()

    def tables() -> Iterator[Any]:
        for start in range(0, images, CHUNK):
            rows = []
            for number in range(start, min(start + CHUNK, images)):
                data = own(plain, number)
                image_id = hashlib.sha256(data).hexdigest()
                path = f"images/{image_id[:2]}/{image_id}.png"
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(data)
                files[path] = len(data)
                rows.append(
                    made_row(number, image_id=image_id, path=path, fmt="png", size=len(data))
                )
            yield pa.Table.from_pylist(rows, schema=RELEASE_IMAGES)

    write_release(root, tables(), files)


def sample() -> bytes:
    """A PNG of 24x16 pixels and noise enough for 8 KB."""
    from random import Random  # noqa: PLC0415

    from PIL import Image, PngImagePlugin  # noqa: PLC0415

    noise = Image.frombytes("RGB", (52, 52), Random(1).randbytes(52 * 52 * 3))
    with tempfile.TemporaryFile() as file:
        noise.save(file, "PNG", pnginfo=PngImagePlugin.PngInfo())
        file.seek(0)
        return file.read()


def own(data: bytes, number: int) -> bytes:
    """The same picture with a text chunk of its own."""
    body = b"tEXtComment\0" + str(number).encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]


def ours(root: Path, out: Path, layout: str, mode: str) -> None:
    """Export with this package."""
    from wan_pipeline.dataset.exports.export import export_release  # noqa: PLC0415
    from wan_pipeline.dataset.exports.terms import (  # noqa: PLC0415
        MB,
        BytesMode,
        ExportFormat,
        ExportTerms,
    )
    from wan_pipeline.dataset.release.reader import open_release  # noqa: PLC0415

    terms = ExportTerms(
        format=ExportFormat(layout), bytes_mode=BytesMode(mode), shard_bytes=SHARD_MB * MB
    )
    export_release(open_release(root / "releases", "hand"), terms, out)


def rows_with_bytes(root: Path) -> Iterator[dict[str, Any]]:
    """What the others are given: the release's rows, with the file of each."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    with pq.ParquetFile(root / "releases" / "hand" / "v1" / "images.parquet") as table:
        for batch in table.iter_batches(4096):
            for row in batch.to_pylist():
                yield {"image": (root / row["path"]).read_bytes(), **row}


def datasets_parquet(root: Path, out: Path) -> None:
    """`Dataset.from_generator(...)`, then `to_parquet`."""
    import datasets  # noqa: PLC0415

    datasets.disable_progress_bars()

    def rows() -> Iterator[dict[str, Any]]:
        for row in rows_with_bytes(root):
            yield {**row, "image": {"bytes": row["image"], "path": row["path"]}}

    made = datasets.Dataset.from_generator(rows, cache_dir=str(out / "cache"))
    made.cast_column("image", datasets.Image(decode=False)).to_parquet(str(out / "train.parquet"))


def webdataset_tar(root: Path, out: Path) -> None:
    """`ShardWriter`, with a JSON file beside each image."""
    import json  # noqa: PLC0415

    import webdataset  # noqa: PLC0415

    with webdataset.ShardWriter(
        str(out / "train-%05d.tar"), maxsize=SHARD_MB * 10**6, maxcount=10**9, verbose=0, mtime=0
    ) as writer:
        for number, row in enumerate(rows_with_bytes(root)):
            image = row.pop("image")
            text = json.dumps(row, default=str).encode()
            writer.write({"__key__": f"{number:09d}", "png": image, "json": text})


CASES = {
    "generate": lambda root, out: generate(root, int(out.name)),
    "parquet": lambda root, out: ours(root, out, "parquet", "marked"),
    "imagefolder": lambda root, out: ours(root, out, "imagefolder", "marked"),
    "webdataset": lambda root, out: ours(root, out, "webdataset", "marked"),
    "parquet, original bytes": lambda root, out: ours(root, out, "parquet", "original"),
    "webdataset, original bytes": lambda root, out: ours(root, out, "webdataset", "original"),
    "datasets.to_parquet": datasets_parquet,
    "webdataset.ShardWriter": webdataset_tar,
}
RIVALS = {"parquet": "datasets.to_parquet", "webdataset": "webdataset.ShardWriter"}


def child(case: str, root: Path, out: Path) -> None:
    """Run one case and print its seconds and its peak of memory in MB."""
    start = time.perf_counter()
    CASES[case](root, out)
    seconds = time.perf_counter() - start
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def run(case: str, root: Path, out: Path) -> tuple[float, float]:
    """Seconds and peak of memory in MB of one case in a process of its own."""
    command = [sys.executable, __file__, "--child", case, str(root), str(out)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, memory = map(float, done.stdout.split()[-2:])
    return seconds, memory


def main() -> None:
    """Generate, measure each case in a process of its own, print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("images", nargs="?", type=int, default=IMAGES)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        case, root, out = asked.child
        child(case, Path(root), Path(out))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "profile"
        # Here it would raise the peak of every later child: Linux hands it down.
        run("generate", root, Path(str(asked.images)))
        found: dict[str, tuple[float, float]] = {}
        print(f"{asked.images:,} images of {len(sample()) / 1000:.1f} KB, shards of {SHARD_MB} MB")
        for case in list(CASES)[1:]:
            with tempfile.TemporaryDirectory(dir=folder) as out:
                seconds, memory = run(case, root, Path(out))
            found[case] = seconds, memory
            rate = asked.images / seconds
            print(f"{case:28} {seconds:7.1f} s  {rate:7,.0f} images/s  peak {memory:6.0f} MB")
        for layout, rival in RIVALS.items():
            for name in (layout, f"{layout}, original bytes"):
                (ours_s, ours_mb), (theirs_s, theirs_mb) = found[name], found[rival]
                time_ratio, memory_ratio = ours_s / theirs_s, ours_mb / theirs_mb
                print(f"{name} / {rival}: time {time_ratio:.2f}, memory {memory_ratio:.2f}")
        worst = max(memory for case, (_, memory) in found.items() if case not in RIVALS.values())
        print(
            f"most memory of ours: {worst:.0f} MB ({'under' if worst < LIMIT_MB else 'OVER'} 300)"
        )


if __name__ == "__main__":
    main()

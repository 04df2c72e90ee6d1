"""What checking one image costs, against the same image in Pillow.

Run it as ``python benchmarks/verify_image.py``. All rows come from one run on one image, measured
in turns, so that the ratios hold on a busy machine too; the milliseconds carry its noise.
"""

from __future__ import annotations

import hashlib
import io
import statistics
import time
from random import Random
from typing import TYPE_CHECKING

from PIL import Image, ImageChops

from wan_pipeline.dataset.verify import inspect_image

if TYPE_CHECKING:
    from collections.abc import Callable

EDGE_PX = 1280
ROUNDS = 40


def sample() -> bytes:
    """Return a PNG of 1280x1280 pixels and about 1.9 MB, near those the API delivers."""
    smooth = Image.linear_gradient("L").resize((EDGE_PX, EDGE_PX))
    grain = Image.frombytes("L", (EDGE_PX, EDGE_PX), Random(1).randbytes(EDGE_PX**2))
    noisy = ImageChops.add(smooth, grain.point(lambda level: level // 32))
    buffer = io.BytesIO()
    Image.merge("RGB", [noisy, smooth, noisy.rotate(90)]).save(buffer, "PNG")
    return buffer.getvalue()


def pillow_verify(data: bytes) -> None:
    """Check the chunks as Pillow does."""
    with Image.open(io.BytesIO(data)) as image:
        image.verify()


def pillow_load(data: bytes) -> None:
    """Decode every pixel."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()


def main() -> None:
    """Measure in turns and print medians with their ratio to the default check."""
    data = sample()
    steps: dict[str, Callable[[], object]] = {
        "inspect_image": lambda: inspect_image(data),
        "inspect_image, deep": lambda: inspect_image(data, deep=True),
        "sha256": lambda: hashlib.sha256(data).digest(),
        "Pillow verify()": lambda: pillow_verify(data),
        "Pillow load()": lambda: pillow_load(data),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append((time.perf_counter() - start) * 1000)
    medians = {name: statistics.median(values) for name, values in times.items()}
    base = medians["inspect_image"]
    print(f"PNG {EDGE_PX}x{EDGE_PX}, {len(data) / 1e6:.2f} MB, median of {ROUNDS}")
    for name, value in medians.items():
        print(f"{name:22} {value:8.3f} ms  {value / base:7.1f}x")


if __name__ == "__main__":
    main()

"""A data folder with built prompt sets, made without a provider: small files, a real ledger.

What `wan run` leaves behind, as fast as a test wants it and with any image for any request.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

import pyarrow.parquet as pq

from wan_pipeline.dataset.metadata import write_metadata
from wan_pipeline.dataset.quality.cache import MeasurementCache
from wan_pipeline.dataset.quality.flags import Thresholds
from wan_pipeline.dataset.quality.measuring import Measured, measure_images
from wan_pipeline.dataset.quality.phash import to_hex
from wan_pipeline.dataset.quality.table import write_quality
from wan_pipeline.dataset.release.create import (
    Circumstances,
    CreatedRelease,
    ReleaseOrder,
    create_release,
)
from wan_pipeline.dataset.release.facts import Price
from wan_pipeline.dataset.release.sources import SetSource
from wan_pipeline.dataset.release.split import DEFAULT_SPLIT, SplitRatios
from wan_pipeline.dataset.store import ImageStore
from wan_pipeline.layout import DataLayout
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.prompts.plan_table import REQUESTS_FILE, iter_requests, write_request_table
from wan_pipeline.prompts.table import PROMPTS_FILE, build_prompt_table
from wan_pipeline_tests.ledger.entries import (
    MORNING,
    PROFILE,
    Book,
    event_row,
    image_row,
    purchase_row,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from wan_pipeline.dataset.release.facts import MissingRequest
    from wan_pipeline.prompts.expand import PlannedRequest

__all__ = ["NOON", "Workshop", "tiny_png"]

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def tiny_png(text: str) -> bytes:
    """A PNG of one pixel whose bytes depend on `text`."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" + bytes([zlib.crc32(text.encode()) % 256]))
    words = b"Comment\0" + text.encode("latin-1", "replace")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            chunk(b"IHDR", header),
            chunk(b"tEXt", words),
            chunk(b"IDAT", pixels),
            chunk(b"IEND", b""),
        )
    )


def painted(request: PlannedRequest, index: int) -> bytes:
    """The image of a request that everybody gets."""
    return tiny_png(f"{request.request_id} {index}")


@dataclass
class Workshop:
    """One data folder.

    Args:
        folder: the data folder.
        day: when everything happens.
        tasks: how task and run ids begin.
    """

    folder: Path
    day: datetime = MORNING
    tasks: str = "task"
    layout: DataLayout = field(init=False)

    def __post_init__(self) -> None:
        self.layout = DataLayout(self.folder, PROFILE)
        self.layout.prompts_dir.mkdir(parents=True, exist_ok=True)
        self.layout.root.mkdir(parents=True, exist_ok=True)
        self._book = Book(self.layout.ledger)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._book.__exit__()

    def build(
        self,
        prompt_set: str,
        csv: str,
        *,
        leave: Callable[[PlannedRequest], bool] = lambda _: False,
        paint: Callable[[PlannedRequest, int], bytes] = painted,
        attempt: int = 1,
    ) -> None:
        """Validate, plan, "buy" what is not stored yet, and write the metadata table.

        Args:
            prompt_set: its name.
            csv: its file.
            leave: which requests are not bought.
            paint: the bytes of an image.
            attempt: which purchase these are.
        """
        self.layout.prompts_dir.joinpath(f"{prompt_set}.csv").write_text(csv, encoding="utf-8")
        tables = self.layout.tables(prompt_set)
        source = self.layout.prompts_dir / f"{prompt_set}.csv"
        build_prompt_table(source, out_dir=tables, set_name=prompt_set)
        write_request_table(
            tables / PROMPTS_FILE,
            out=tables / REQUESTS_FILE,
            model="wan25_t2i_preview_intl",
            base_seed=0,
        )
        with self.ledger() as ledger:
            known = {
                request_id
                for request_id, purchase in ledger.purchases().items()
                if purchase.attempt >= attempt
            }
        for request in iter_requests(tables / REQUESTS_FILE):
            if request.request_id not in known and not leave(request):
                known.add(request.request_id)
                self._buy(request, prompt_set, paint, attempt)
        self.publish(prompt_set)

    def publish(self, prompt_set: str) -> None:
        """Write the metadata table."""
        with self.ledger() as ledger:
            write_metadata(
                self.layout.tables(prompt_set) / REQUESTS_FILE,
                ledger=ledger,
                prompt_set=prompt_set,
                out=self.layout.metadata(prompt_set),
                phashes=self._phashes,
            )

    def judge(self, prompt_set: str, **thresholds: Any) -> None:
        """Write the quality tables."""
        rows = pq.read_table(self.layout.metadata(prompt_set), columns=["image_id", "path"])
        write_quality(
            self.layout.metadata(prompt_set),
            measured=self._measured({row["image_id"]: row["path"] for row in rows.to_pylist()}),
            thresholds=Thresholds(**thresholds),
            out=self.layout.quality(prompt_set),
            pairs_out=self.layout.quality_pairs(prompt_set),
        )

    def _measured(self, paths: Mapping[str, str]) -> Measured:
        files = {image_id: self.layout.root / path for image_id, path in paths.items()}
        return measure_images(files, self.measurements)

    def _phashes(self, paths: Mapping[str, str]) -> dict[str, str]:
        measured = self._measured(paths)
        return {image_id: to_hex(each.phash) for image_id, each in measured.known.items()}

    @property
    def measurements(self) -> MeasurementCache:
        """What is known of the images."""
        return MeasurementCache(self.layout.measurements)

    def add(self, *rows: Iterable[dict[str, Any]]) -> None:
        """Put rows of purchases, images and events into the ledger as they are."""
        self._book.add(*rows)

    def change(self, statement: sa.Executable) -> None:
        """Change the ledger by hand."""
        with self._book.engine.begin() as connection:
            connection.execute(statement)

    def ledger(self) -> Ledger:
        """The ledger; to be closed."""
        return Ledger(self.layout.ledger, PROFILE)

    def source(
        self,
        prompt_set: str,
        *,
        missing: Sequence[MissingRequest] = (),
        next_steps: Mapping[str, str] | None = None,
    ) -> SetSource:
        """The set as a release takes it."""
        tables = self.layout.tables(prompt_set)
        return SetSource(
            prompt_set=prompt_set,
            prompt_file=self.layout.prompts_dir / f"{prompt_set}.csv",
            prompts=tables / PROMPTS_FILE,
            requests=tables / REQUESTS_FILE,
            metadata=self.layout.metadata(prompt_set),
            quality=self.layout.quality(prompt_set),
            truncate=False,
            rejections=0,
            images_short=0,
            missing=missing,
            next_steps=next_steps or {},
        )

    def order(self, name: str, *prompt_sets: str, **changes: Any) -> ReleaseOrder:
        """An order of these sets."""
        values: dict[str, Any] = {
            "name": name,
            "sources": [self.source(each) for each in prompt_sets],
            "ratios": SplitRatios.parse(DEFAULT_SPLIT),
            "incomplete": False,
            "thresholds": Thresholds(),
            "circumstances": Circumstances(
                profile=PROFILE,
                code_version="test",
                price=Price(
                    usd_per_image=Decimal("0.03"), source="a test", table_version="2026-11-22"
                ),
                settings={"base_seed": 0},
            ),
        }
        return ReleaseOrder(**{**values, **changes})

    def release(self, name: str, *prompt_sets: str, **changes: Any) -> CreatedRelease:
        """Make a release of these sets."""
        with self.ledger() as ledger:
            return create_release(
                self.order(name, *prompt_sets, **changes),
                ledger=ledger,
                measurements=self.measurements,
                releases_dir=self.layout.releases,
                now=NOON,
            )

    def _buy(
        self,
        request: PlannedRequest,
        prompt_set: str,
        paint: Callable[[PlannedRequest, int], bytes],
        attempt: int,
    ) -> None:
        store, which = ImageStore(self.layout.root), {"attempt": attempt}
        kept = [store.put(paint(request, index), "png") for index in range(request.request.n)]
        name = request.request_id[:8]
        self._book.add(
            [
                purchase_row(
                    request.request_id,
                    request=request.request.canonical_json().decode(),
                    n=request.request.n,
                    cost_usd=Decimal("0.03") * request.request.n,
                    bought_by_set=prompt_set,
                    task_id=f"{self.tasks}-{name}-{attempt}",
                    run_id=f"run-of-{self.tasks}",
                    created_at=self.day,
                    **which,
                )
            ],
            [
                image_row(
                    request.request_id,
                    index,
                    url=f"https://{self.tasks}.example/{name}/{index}",
                    image_id=each.image_id,
                    path=each.path,
                    bytes=each.bytes,
                    width=1,
                    height=1,
                    **which,
                )
                for index, each in enumerate(kept)
            ],
            [
                event_row(
                    request.request_id, at=self.day + timedelta(seconds=at), **which, **states
                )
                for at, states in enumerate(
                    (
                        {"from_state": None, "to_state": "intent"},
                        {"from_state": "intent", "to_state": "submitted"},
                        {"from_state": "submitted", "to_state": "stored"},
                    )
                )
            ],
        )

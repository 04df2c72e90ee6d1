"""The dataset card: README.md with the front matter that Hugging Face's readers go by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from wan_pipeline.dataset.exports.columns import archive_features, card_features
from wan_pipeline.dataset.exports.terms import ExportFormat
from wan_pipeline.dataset.fields import description_of
from wan_pipeline.dataset.provenance.packet import SOURCE_TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from wan_pipeline.dataset.exports.manifest import ExportedFile
    from wan_pipeline.dataset.exports.tally import Tally
    from wan_pipeline.dataset.exports.terms import ExportTerms
    from wan_pipeline.dataset.release.reader import Release

__all__ = ["CARD_FILE", "card_text", "sentence"]

CARD_FILE = "README.md"
_SIZES = [
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
]
_PATTERNS = {
    ExportFormat.PARQUET: "data/{split}-*.parquet",
    ExportFormat.IMAGEFOLDER: "data/{split}/**",
    ExportFormat.WEBDATASET: "data/{split}-*.tar",
}


def sentence(release: Release, tally: Tally) -> str:
    """What the dataset is, in one sentence."""
    images = sum(tally.rows.values())
    return (
        f"{images:,} image{'' if images == 1 else 's'} that {', '.join(sorted(tally.models))} made"
        f" of {release.manifest.counts.prompts:,} prompts; release {release.reference}."
    )


def card_text(
    release: Release,
    terms: ExportTerms,
    *,
    tally: Tally,
    schema: Any,
    num_bytes: Mapping[str, int],
    files: Sequence[ExportedFile],
) -> str:
    """The card of a finished export.

    Args:
        release: what was exported.
        terms: how.
        tally: what is in it.
        schema: the columns that a reader sees.
        num_bytes: what each split takes in memory.
        files: those written so far, single images left out.
    """
    data = [each for each in files if each.path.startswith("data/")]
    data_bytes = sum(each.bytes for each in data)
    if terms.format is ExportFormat.IMAGEFOLDER:
        data_bytes += tally.image_bytes
    front = yaml.safe_dump(
        _front_matter(release, terms, tally, schema, num_bytes, data_bytes),
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )
    environment = Environment(
        loader=PackageLoader("wan_pipeline.dataset.exports"),
        autoescape=False,  # noqa: S701  Markdown; what others wrote goes through `code`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = _code
    environment.filters["usd"] = _usd
    environment.filters["count"] = "{:,}".format
    columns = [(each.name, str(each.type), description_of(each)) for each in schema]
    return environment.get_template("card.md.j2").render(
        front=front,
        release=release,
        manifest=release.manifest,
        terms=terms,
        tally=tally,
        summary=sentence(release, tally),
        columns=columns,
        source_type=SOURCE_TYPE,
        shards=_PATTERNS[terms.format].format(split=tally.splits[0]),
    )


def _front_matter(
    release: Release,
    terms: ExportTerms,
    tally: Tally,
    schema: Any,
    num_bytes: Mapping[str, int],
    data_bytes: int,
) -> dict[str, Any]:
    images = sum(tally.rows.values())
    pattern = _PATTERNS[terms.format]
    front: dict[str, Any] = {
        "pretty_name": release.reference,
        "license": terms.licence or "unknown",
        "task_categories": ["text-to-image"],
        "tags": ["synthetic", "image-generation", *sorted(tally.models)],
        "size_categories": [next((word for end, word in _SIZES if images < end), "n>10M")],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": split, "path": pattern.format(split=split)} for split in tally.splits
                ],
            }
        ],
    }
    archives = terms.format is ExportFormat.WEBDATASET
    front["dataset_info"] = {
        "features": archive_features(tally.suffixes, schema) if archives else card_features(schema),
        "splits": [
            {"name": split, "num_bytes": num_bytes[split], "num_examples": tally.rows[split]}
            for split in tally.splits
        ],
        "download_size": data_bytes,
        "dataset_size": sum(num_bytes.values()),
    }
    return front


def _code(text: object) -> str:
    """Words of others as a code span, on one line, unable to end it."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return "`" + line.replace("`", "'").replace("|", "\N{BROKEN BAR}") + "`"


def _usd(amount: Decimal) -> str:
    """Dollars with at least two decimals and no further zeros."""
    whole, _, decimals = f"{amount:f}".partition(".")
    return f"{int(whole):,}.{decimals.rstrip('0').ljust(2, '0')} USD"

"""The `exports` asset."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
from pydantic import Field

from wan_pipeline.dataset.exports.columns import IMAGE, export_schema
from wan_pipeline.dataset.exports.elsewhere import note_export
from wan_pipeline.dataset.exports.export import ExportSummary, export_release, exports_of
from wan_pipeline.dataset.exports.index import INDEX, INDEX_FILE
from wan_pipeline.dataset.exports.manifest import MANIFEST_FILE
from wan_pipeline.dataset.exports.terms import (
    DEFAULT_SHARD_MB,
    MB,
    BytesMode,
    ExportError,
    ExportFormat,
    ExportTerms,
    checked_licence,
)
from wan_pipeline.dataset.provenance.signing import signing_key
from wan_pipeline.dataset.release.reader import open_release
from wan_pipeline.dataset.release.tables import RELEASE_IMAGES
from wan_pipeline.defs import ui
from wan_pipeline.defs.named import is_named
from wan_pipeline.defs.resources import WanResource

__all__ = ["EXPORTED", "JOB", "ExportsConfig", "exports"]

JOB = "make_exports"
ALL = "all"
EXPORTED = export_schema(RELEASE_IMAGES, leading=IMAGE)
LINEAGE = {
    **ui.same_columns(EXPORTED, source="release", origin=RELEASE_IMAGES),
    IMAGE: ("release", "path"),
    "file_sha256": ("release", "image_id"),
    "marking": ("release", "image_id"),
}
INDEX_LINEAGE = {
    **ui.same_columns(INDEX, source="release", origin=RELEASE_IMAGES),
    "file_sha256": ("release", "image_id"),
    # The release has a `path` as well: where the file as received lies, which is another place.
    **ui.from_words("the layout of the export", ["path", "member", "row"]),
}


class ExportsConfig(dg.Config):
    """Which release is exported, and how."""

    release: str = Field(
        default="",
        description="Release to export: name@v3, or the name alone for its newest version. Nothing"
        " is exported without one, so that materializing the whole graph exports nothing.",
    )
    format: str = Field(
        default=ExportFormat.PARQUET.value,
        description="parquet (Hugging Face, image bytes in the tables), imagefolder, webdataset, or"
        " all.",
    )
    bytes: str = Field(
        default=BytesMode.MARKED.value,
        description="marked (the files say in their metadata that a model made them) or original"
        " (as received).",
    )
    shard_mb: int = Field(
        default=DEFAULT_SHARD_MB, ge=1, description="A shard is closed before it grows beyond this."
    )
    licence: str = Field(
        default="",
        description="Licence of the images for the dataset card, such as cc-by-4.0; unknown when"
        " empty.",
    )
    out: str = Field(
        default="",
        description="Folder to export to instead of data/<profile>/exports/<name>-v<N>.",
    )


@dg.asset(
    deps=["release"],
    group_name="dataset",
    kinds={"parquet", "huggingface", "webdataset"},
    owners=["team:wan-pipeline"],
    code_version="1",
    output_required=False,
)
def exports(
    context: dg.AssetExecutionContext, config: ExportsConfig, wan: WanResource
) -> Iterator[dg.MaterializeResult]:
    """A release in the forms that training code reads: Hugging Face, ImageFolder, WebDataset.

    Made by hand only: launch the job `make_exports` with the name of a release, or type `wan
    release export`. Image bytes are never re-encoded; marked ones say in their metadata which model
    made them and which release they are from, and are signed when a certificate is set. Every
    export has a dataset card, a Croissant description, an index from hash to file, and in
    `export.json` the SHA-256 of every file. The same release exported again gives the same bytes,
    but for signatures; a damaged release is refused.
    """
    if not is_named(
        context, config.release, job=JOB, field="release", otherwise="nothing was exported"
    ):
        return
    terms = _terms(config, wan)
    release = open_release(wan.layout.releases, config.release)
    usual = exports_of(wan.layout.exports, release)
    out = Path(config.out) if config.out else usual
    made: list[ExportSummary] = []
    for each in terms:
        made.append(export_release(release, each, out))
        note_export(made[-1].folder, exports=usual)
        context.log.info("%s exported to %s", release.reference, made[-1].folder)
    yield dg.MaterializeResult(data_version=_data_version(made), metadata=_metadata(made))


def _terms(config: ExportsConfig, wan: WanResource) -> list[ExportTerms]:
    """What is to be written, one export for each format.

    Raises:
        ExportError: a word is none of those that are known.
        ConfigurationError: the certificate cannot be used.
    """
    formats = {each.value: [each] for each in ExportFormat} | {ALL: list(ExportFormat)}
    modes = {each.value: each for each in BytesMode}
    for name, word, known in (("format", config.format, formats), ("bytes", config.bytes, modes)):
        if word not in known:
            raise ExportError(
                f"run config `{name}`: there is no {word!r}; choose one of {', '.join(known)}."
                " Nothing was exported"
            )
    mode, settings = modes[config.bytes], wan.settings()
    marked = mode is BytesMode.MARKED
    return [
        ExportTerms(
            format=each,
            bytes_mode=mode,
            shard_bytes=config.shard_mb * MB,
            licence=checked_licence(config.licence),
            signing=signing_key(settings.c2pa_certificate, settings.c2pa_key) if marked else None,
        )
        for each in formats[config.format]
    ]


def _data_version(made: Sequence[ExportSummary]) -> dg.DataVersion:
    """A hash of the manifests, which hold the hash of every file."""
    digest = hashlib.sha256()
    for each in made:
        digest.update((each.folder / MANIFEST_FILE).read_bytes())
    return dg.DataVersion(digest.hexdigest())


def _metadata(made: Sequence[ExportSummary]) -> dict[str, object]:
    """Of all exports; each has a row in the table."""
    first = made[0]
    summary = [
        {
            "release": each.reference,
            "content": each.content,
            "format": each.format,
            "bytes": each.bytes_mode,
            "licence": each.licence,
            "signed": each.signed,
            "rows": each.rows,
            "markings": each.markings,
            "files": each.files,
            "file_bytes": each.bytes,
            "folder": str(each.folder),
        }
        for each in made
    ]
    return {
        "release": first.reference,
        "licence": first.licence or "unknown",
        "dagster/row_count": sum(first.rows.values()),
        "dagster/column_schema": ui.column_schema(EXPORTED, LINEAGE),
        "dagster/column_lineage": ui.column_lineage(LINEAGE),
        "summary": dg.MetadataValue.json(summary),
        "export_bytes": sum(each.bytes for each in made),
        **{f"folder_{each.format}": dg.MetadataValue.path(str(each.folder)) for each in made},
        **_indexes(made),
    }


def _indexes(made: Sequence[ExportSummary]) -> dict[str, object]:
    """The index of each export, with its columns and where they come from."""
    return {
        key: told
        for each in made
        for key, told in ui.further_table(
            f"index_{each.format}",
            each.folder / INDEX_FILE,
            schema=INDEX,
            sources=INDEX_LINEAGE,
        ).items()
    }

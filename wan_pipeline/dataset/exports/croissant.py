"""A Croissant description of an export: which files there are, and which columns are in them.

Croissant (MLCommons, version 1.0) is JSON-LD that search engines and loaders read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from wan_pipeline.dataset.exports.columns import IMAGE
from wan_pipeline.dataset.exports.terms import ExportFormat
from wan_pipeline.dataset.fields import description_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wan_pipeline.dataset.exports.manifest import ExportedFile
    from wan_pipeline.dataset.exports.terms import ExportTerms
    from wan_pipeline.dataset.release.reader import Release

__all__ = ["CROISSANT_FILE", "describe"]

CROISSANT_FILE = "croissant.json"

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
_MIME = {
    "parquet": "application/x-parquet",  # the name that Croissant's reader knows
    "tar": "application/x-tar",
}
_TYPES = {
    "string": "sc:Text",
    "bool": "sc:Boolean",
    "double": "sc:Float",
    "int32": "sc:Integer",
    "int64": "sc:Integer",
}
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_IMAGES = {"png": "*.png", "jpeg": "*.jpg", "webp": "*.webp"}
_ROWS, _FILES = "rows", "files"
_READ_AS_FILES = {"png", "jpeg"}
"""Formats by which mlcroissant decides how to open a file that lies by itself."""


def describe(
    release: Release,
    terms: ExportTerms,
    *,
    schema: Any,
    files: Sequence[ExportedFile],
    formats: Sequence[str],
    description: str,
) -> dict[str, Any]:
    """The description of a finished export, as JSON-LD.

    Args:
        release: what was exported.
        terms: how.
        schema: the columns that a reader sees.
        files: shards and tables of the export; single images are described together, if at all.
        formats: of the image files: png, jpeg, webp.
        description: one sentence about the dataset.
    """
    listed = [each for each in files if each.path.startswith("data/")]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": release.reference,
        "description": description,
        # Croissant wants a version of three numbers; a release has one.
        "version": f"{release.version}.0.0",
        "datePublished": release.manifest.created_at.date().isoformat(),
        **({} if terms.licence is None else {"license": terms.licence}),
        "distribution": [
            *(_file(each) for each in listed),
            *_file_sets(terms.format, [each.path for each in listed], formats),
        ],
        "recordSet": list(_record_sets(terms.format, schema, formats)),
    }


def _files_are_records(layout: ExportFormat, formats: Sequence[str]) -> bool:
    """Whether image files are files of their own, and mlcroissant can read them.

    Out of an archive it takes bytes, whatever they are. A file in a folder it opens by the first
    format of the set that it knows, with a library that knows the others as well: one is enough.
    """
    if layout is ExportFormat.IMAGEFOLDER:
        return not _READ_AS_FILES.isdisjoint(formats)
    return layout is ExportFormat.WEBDATASET


def _file(file: ExportedFile) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path,
        "contentUrl": file.path,
        "contentSize": f"{file.bytes} B",
        "encodingFormat": _MIME[file.path.rpartition(".")[2]],
        "sha256": file.sha256,
    }


def _file_sets(
    layout: ExportFormat, paths: Sequence[str], formats: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """The files that hold rows, and those that hold images where those are records."""
    archives: dict[str, Any] = {}
    if layout is ExportFormat.WEBDATASET:
        archives = {"containedIn": [{"@id": path} for path in paths]}
        yield _file_set(_ROWS, ["application/json"], ["*.json"]) | archives
    else:
        tables = "*/metadata.parquet" if layout is ExportFormat.IMAGEFOLDER else "*.parquet"
        yield _file_set(_ROWS, [_MIME["parquet"]], [f"data/{tables}"])
    if _files_are_records(layout, formats):
        yield (
            _file_set(
                _FILES, [f"image/{each}" for each in formats], [_IMAGES[each] for each in formats]
            )
            | archives
        )


def _file_set(name: str, mimes: list[str], patterns: list[str]) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "encodingFormat": mimes,
        "includes": patterns,
    }


def _record_sets(
    layout: ExportFormat, schema: Any, formats: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """The rows, and the image files where a reader can have them."""
    if layout is ExportFormat.WEBDATASET:
        said = "the image's row as JSON"
        fields = [_key("rows"), _field("rows/row", "sc:Text", said, _property(_ROWS, "content"))]
    else:
        fields = [_column(each) for each in schema]
    yield _record_set("rows", "One record per image of a prompt.", fields)
    if _files_are_records(layout, formats):
        source = _property(_FILES, "content")
        picture = _field("files/image", "sc:ImageObject", "the image", source)
        yield _record_set("files", "One record per image file.", [_key("files"), picture])


def _record_set(name: str, description: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": f"{name}-records",
        "name": f"{name}-records",
        "description": description,
        "field": fields,
    }


def _key(name: str) -> dict[str, Any]:
    """The name that an image file and its row share."""
    source = _property(name, "filename") | {"transform": {"regex": r"^(.+)\.[a-z]+$"}}
    return _field(f"{name}/key", "sc:Text", "file name without its suffix", source)


def _property(file_set: str, name: str) -> dict[str, Any]:
    return {"fileSet": {"@id": file_set}, "extract": {"fileProperty": name}}


def _column(column: Any) -> dict[str, Any]:
    """A column of a table."""
    source: dict[str, Any] = {"fileSet": {"@id": _ROWS}, "extract": {"column": column.name}}
    repeated = pa.types.is_list(column.type)
    kind = _type(column.type.value_type if repeated else column.type)
    if column.name == IMAGE:
        source["transform"] = {"jsonPath": "bytes"}
    field = _field(f"rows/{column.name}", kind, description_of(column), source)
    return field | {"repeated": True} if repeated else field


def _field(name: str, kind: str, description: str, source: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": name,
        "name": name.rpartition("/")[2],
        "description": description,
        "dataType": kind,
        "source": source,
    }


def _type(kind: Any) -> str:
    if pa.types.is_struct(kind):
        return "sc:ImageObject"
    if pa.types.is_timestamp(kind):
        return "sc:DateTime"
    if pa.types.is_decimal(kind):
        return "sc:Float"  # the nearest there is; the files hold the exact amount
    return _TYPES[str(kind)]

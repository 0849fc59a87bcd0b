"""Datasets as Croissant 1.0 (http://mlcommons.org/croissant/1.0): their files, and their list of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from descbench.licences import spdx_of

_VERSION = "http://mlcommons.org/croissant/1.0"
# The context that the specification gives.
_CONTEXT = {
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
_TYPES = {"image_id": "sc:Integer", "easting": "sc:Float", "northing": "sc:Float"}


def describe_dataset(
    name: str,
    block: Mapping[str, Any],
    sources: Mapping[str, Mapping[str, Any]],
    manifest: tuple[str, str, Sequence[str]] | None,
) -> dict[str, Any]:
    """A dataset as Croissant.

    Args:
        name: of the dataset.
        block: of the configuration.
        sources: what of its sources was recorded, by name: licence, note, files.
        manifest: address of the list of its images, its SHA-256 and its columns; None: there is none.
    """
    licences = sorted({spdx_of(entry["licence"]) for entry in sources.values()})
    described: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _VERSION,
        "name": name,
        "description": block.get("note") or f"Dataset {name} of format {block['format']}.",
        "license": licences or ["NOASSERTION"],
        "distribution": [_file(file) for entry in sources.values() for file in entry["files"] if file.get("sha256")],
    }
    if manifest is not None:
        address, sha256, columns = manifest
        listed = {"@type": "cr:FileObject", "@id": "manifest", "name": "manifest", "contentUrl": address}
        described["distribution"].append({**listed, "encodingFormat": "text/csv", "sha256": sha256})
        described["recordSet"] = [_records(columns)]
    return described


def _file(file: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file["file"],
        "name": file["file"],
        "contentUrl": file.get("final_url") or file.get("url") or file["file"],
        "contentSize": f"{file['size']} B",
        "encodingFormat": "application/octet-stream",
        "sha256": file["sha256"],
    }


def _records(columns: Sequence[str]) -> dict[str, Any]:
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"images/{column}",
            "name": column,
            "dataType": _TYPES.get(column, "sc:Text"),
            "source": {"fileObject": {"@id": "manifest"}, "extract": {"column": column}},
        }
        for column in columns
    ]
    return {"@type": "cr:RecordSet", "@id": "images", "name": "images", "field": fields}

"""The card of a dataset in Croissant, a vocabulary of JSON-LD that search engines and training libraries read.

The files are those of this project: the manifest, and the shards of prepared images. A card depends on the data alone:
it has no time and no path of the machine.
Specification: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kedro_dcgan.data.manifest import SPLITS, summarise
from kedro_dcgan.data.origin import Origin
from kedro_dcgan.data.shards import PreparedImages, StoredShard
from kedro_dcgan.data.transforms import Preparation

# The context of the specification. Readers expect all of it, not only the terms that are used here.
_TERMS = (
    "citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet", "format",
    "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex",
    "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS},
}
# The columns of the manifest that a record has: type and meaning.
_COLUMNS = {
    "path": ("sc:Text", "Path of the file in its source."),
    "sha256": ("sc:Text", "SHA-256 of the file."),
    "format": ("sc:Text", "Format of the file."),
    "width": ("sc:Integer", "Width of the original image, in pixels."),
    "height": ("sc:Integer", "Height of the original image, in pixels."),
    "label": ("sc:Text", "Class of the image."),
    "split": ("sc:Text", "Split of an accepted image."),
    "verdict": ("sc:Text", "accepted or skipped."),
    "reason": ("sc:Text", "Why the file is skipped."),
    "row": ("sc:Integer", "Row of the prepared image, counted over all shards."),
}
_SPLIT_TYPES = {"train": "cr:TrainingSplit", "validation": "cr:ValidationSplit", "test": "cr:TestSplit"}


@dataclass(frozen=True)
class DatasetCard:
    """The facts on a card, except for the places of its files. `digest` is that of the dataset."""

    name: str
    description: str
    origin: Origin
    digest: str
    classes: tuple[str, ...]
    shards: Sequence[StoredShard]


@dataclass(frozen=True)
class CardFiles:
    """The manifest with its SHA-256, and the folder of the shards, relative to the card."""

    manifest: str
    manifest_sha256: str
    shards: str


def describe_dataset(images: PreparedImages, preparation: Preparation, manifest: pd.DataFrame) -> DatasetCard:
    """Return the card of prepared images that were selected with a manifest."""
    size, colours = preparation.image_size, "grey" if preparation.channels == 1 else "RGB"
    side = f" {preparation.crop.side}" if preparation.crop.side else ""
    crop = f"{preparation.crop.mode}{side}{', in boxes' if preparation.boxes else ''}"
    splits = ", ".join(f"{split} {images.count(split):,}" for split in SPLITS)
    description = (
        f"{summarise(manifest)}. Accepted images are prepared as uint8 arrays of {size}x{size} {colours} pixels (crop: "
        f"{crop}; resampling: {preparation.resample}). Splits: {splits}."
    )
    classes = images.classes.names if images.classes else ()
    return DatasetCard(images.name or "images", description, images.origin, images.digest, classes, images.shards)


def write_card(card: DatasetCard, files: CardFiles) -> str:
    """Return the card as JSON-LD. UTF-8 has no lone surrogates: they become question marks."""
    content = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": card.name,
        "description": card.description,
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": card.origin.licence,
        "url": card.origin.url,
        # Croissant asks for a semantic version, which has room for a hash behind the plus sign.
        "version": f"1.0.0+{card.digest}",
        "distribution": [
            _file("manifest", files.manifest, files.manifest_sha256, "application/x-parquet"),
            # NumPy's format has no registered media type.
            *(_file(f"shards/{one.file}", f"{files.shards}/{one.file}", one.sha256, "application/octet-stream")
              for one in card.shards),
        ],
        "recordSet": [_splits(), *([_labels(card.classes)] if card.classes else []), _images(bool(card.classes))],
    }  # fmt: skip
    known = {key: value for key, value in content.items() if value is not None}
    return json.dumps(known, indent=2, ensure_ascii=False).encode("utf-8", "replace").decode() + "\n"


def _file(name: str, url: str, sha256: str, media_type: str) -> dict[str, str]:
    names = {"@type": "cr:FileObject", "@id": name, "name": url.rpartition("/")[2]}
    return {**names, "contentUrl": url, "encodingFormat": media_type, "sha256": sha256}


def _splits() -> dict[str, Any]:
    data = [{"splits/name": split, "splits/url": _SPLIT_TYPES[split]} for split in SPLITS]
    fields = [_field("splits/name", "sc:Text"), _field("splits/url", "sc:URL")]
    key = {"@id": "splits/name"}
    return _record_set("splits", "The splits of the dataset.", fields, dataType="cr:Split", key=key, data=data)


def _labels(classes: Sequence[str]) -> dict[str, Any]:
    data = [{"labels/name": name} for name in classes]
    fields, key = [_field("labels/name", "sc:Text")], {"@id": "labels/name"}
    return _record_set("labels", "The classes.", fields, dataType="sc:Enumeration", key=key, data=data)


def _images(has_classes: bool) -> dict[str, Any]:
    references = {"split": "splits/name"} | ({"label": "labels/name"} if has_classes else {})
    fields = []
    for column, (data_type, meaning) in _COLUMNS.items():
        source = {"fileObject": {"@id": "manifest"}, "extract": {"column": column}}
        target = {"references": {"field": {"@id": references[column]}}} if column in references else {}
        fields.append(_field(f"images/{column}", data_type, description=meaning, source=source, **target))
    return _record_set("images", "One record for each file of the source, whether it is accepted or skipped.", fields)


def _record_set(name: str, description: str, fields: list[dict[str, Any]], **others: Any) -> dict[str, Any]:
    names = {"@type": "cr:RecordSet", "@id": name, "name": name, "description": description}
    return {**names, **others, "field": fields}


def _field(name: str, data_type: str, **others: Mapping[str, Any] | str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": name, "name": name.rpartition("/")[2], "dataType": data_type, **others}

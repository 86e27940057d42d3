"""Captions in JSON: COCO's, and Karpathy's splits of Flickr8k, Flickr30k and COCO."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.captions_files import (
    clean_captions,
    clean_name,
    clean_split,
    gather_photos,
    read_text,
    source_below,
)
from training.errors import CaptionsError
from training.photos import CaptionedPhoto


def load_json_captions(path: Path, images: Path) -> list[CaptionedPhoto]:
    """Return the photos of a JSON file in either form: COCO's has "annotations" beside its "images".

    Raises:
        CaptionsError: as the two below, or it is of neither form.
    """
    document = _read_json(path)
    if "annotations" in document:
        return gather_photos(_coco(document, path, images))
    if "images" in document:
        return gather_photos(_karpathy(document, path, images))
    raise CaptionsError(f'{path}, $: neither COCO\'s "images" and "annotations" nor Karpathy\'s "images"')


def load_coco_captions(path: Path, images: Path) -> list[CaptionedPhoto]:
    """Return the photos of a file such as captions_train2017.json, in the order of its "images".

    An image that no annotation speaks of is left out: it has no captions.

    Raises:
        CaptionsError: the file cannot be read, or an object (named by its JSON path) is malformed.
    """
    return gather_photos(_coco(_read_json(path), path, images))


def load_karpathy_split(path: Path, images: Path) -> list[CaptionedPhoto]:
    """Return the photos of a file such as dataset_flickr30k.json, with their splits.

    A photo's name is its "filename", after its "filepath" if it has one, as COCO's do.

    Raises:
        CaptionsError: the file cannot be read, or an object (named by its JSON path) is malformed.
    """
    return gather_photos(_karpathy(_read_json(path), path, images))


def _coco(document: dict[str, Any], path: Path, images: Path) -> Iterator[tuple[str, CaptionedPhoto]]:
    captions: dict[int | str, list[str]] = {}
    named: list[tuple[str, int | str, str]] = []
    for where, image in _objects(document, "images", f"{path}, $"):
        identity = _field(image, "id", (int, str), where)
        if identity in captions:
            raise CaptionsError(f"{where}.id: {identity!r} is another image's too")
        captions[identity] = []
        named.append((where, identity, _name(image, "file_name", where)))
    for where, annotation in _objects(document, "annotations", f"{path}, $"):
        identity = _field(annotation, "image_id", (int, str), where)
        if identity not in captions:
            raise CaptionsError(f"{where}.image_id: no image has the id {identity!r}")
        captions[identity].extend(
            clean_captions(_field(annotation, "caption", (str,), where), f"{where}.caption")
        )
    for where, identity, name in named:
        source = source_below(images, name, f"{where}.file_name")
        if captions[identity]:
            yield where, CaptionedPhoto(name, tuple(captions[identity]), source)


def _karpathy(document: dict[str, Any], path: Path, images: Path) -> Iterator[tuple[str, CaptionedPhoto]]:
    for where, image in _objects(document, "images", f"{path}, $"):
        name = _name(image, "filename", where)
        if image.get("filepath"):
            name = f"{_field(image, 'filepath', (str,), where).rstrip('/')}/{name}"
        sentences = [
            _field(sentence, "raw", (str,), at) for at, sentence in _objects(image, "sentences", where)
        ]
        yield (
            where,
            CaptionedPhoto(
                name=clean_name(name, where),
                captions=clean_captions(sentences, f"{where}.sentences"),
                source=source_below(images, name, f"{where}.filename"),
                split=clean_split(image.get("split"), f"{where}.split"),
            ),
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise CaptionsError(f"{path}, line {error.lineno}: no JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits; 100,000 brackets
        raise CaptionsError(f"{path}: no JSON that can be read: {error}") from error
    if not isinstance(document, dict):
        raise CaptionsError(f"{path}, $: no object")
    return document


def _objects(parent: dict[str, Any], key: str, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a list, and the JSON path of each."""
    for number, child in enumerate(_field(parent, key, (list,), where)):
        at = f"{where}.{key}[{number}]"
        if not isinstance(child, dict):
            raise CaptionsError(f"{at}: no object: {str(child)[:80]!r}")
        yield at, child


def _name(parent: dict[str, Any], key: str, where: str) -> str:
    return clean_name(_field(parent, key, (str,), where), f"{where}.{key}")


def _field(parent: dict[str, Any], key: str, kinds: tuple[type, ...], where: str) -> Any:
    value = parent.get(key)
    if isinstance(value, kinds):
        return value
    wanted = " or ".join(_JSON_KINDS[kind] for kind in kinds)
    raise CaptionsError(f"{where}.{key}: {'no ' + wanted if key in parent else 'missing'}")


_JSON_KINDS: dict[type, str] = {int: "number", str: "string", list: "list"}

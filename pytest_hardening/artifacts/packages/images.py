"""Container images: which layers an image has, as an OCI layout or `docker save` says it.

Source: OCI image specification ("Image Layout", "Image Index", "Image Manifest"); Docker Image Specification v1.2,
"Combined Image JSON + Filesystem Changeset Format" (manifest.json).
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from ...elf.source import Source
from ...errors import ArtifactError

__all__ = ["Blobs", "FolderBlobs", "Image", "TarBlobs", "images_of", "is_layout", "is_part"]

_INDEX, _MANIFEST, _LAYOUT = "index.json", "manifest.json", "oci-layout"
_BLOB = re.compile(r"blobs/[a-z0-9+._-]+/[0-9a-f]{32,128}")
_DOCKER = re.compile(r"[0-9a-f]{64}(\.tar|\.json|/layer\.tar)")
_DIGEST = re.compile(r"([a-z0-9+._-]+):([0-9a-f]{32,128})")
_MOST_JSON = 4 << 20
_MOST_LAYERS, _MOST_IMAGES, _MOST_INDEXES = 1024, 64, 4
_ATTESTATION = "vnd.docker.reference.type"


class Blobs(Protocol):
    """Where the files of an image are."""

    def __contains__(self, name: str) -> bool: ...

    def open(self, name: str) -> Source:
        """A file of the image.

        Raises
        ------
        ArtifactError: there is none of this name, or it cannot be read.
        """


class FolderBlobs:
    """An OCI layout that is a folder. Links that lead out of it are not followed."""

    def __init__(self, folder: str) -> None:
        self._folder = os.path.realpath(folder)

    def __contains__(self, name: str) -> bool:
        return os.path.isfile(os.path.join(self._folder, name))

    def open(self, name: str) -> Source:
        path = os.path.realpath(os.path.join(self._folder, name))
        if not path.startswith(self._folder.rstrip("/") + "/"):
            raise ArtifactError(f"{name} lies outside of the image")
        try:
            return Source.open(path)
        except ArtifactError as error:
            raise ArtifactError(f"{name} {error}") from None


@dataclass
class TarBlobs:
    """The parts of an image in a tar archive: the copy of each, links among them, and hard links to them."""

    found: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    hard_links: dict[str, str] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.found or name in self.links

    def open(self, name: str) -> Source:
        target = self.links.get(name)
        if target is not None and name not in self.found:  # what `docker save` once wrote for a layer of two images
            name = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
        if name not in self.found:
            raise ArtifactError(f"{name} is missing")
        return Source.open(self.found[name])


class Image(NamedTuple):
    """One image: what tells it from the others, empty where there are none, and its layers, the lowest first."""

    label: str
    layers: tuple[str, ...]


def is_part(name: str) -> bool:
    """Whether a file of a tar archive may be part of a container image."""
    return name in (_INDEX, _MANIFEST, _LAYOUT) or bool(_BLOB.fullmatch(name) or _DOCKER.fullmatch(name))


def is_layout(blobs: Blobs) -> bool:
    """Whether files make a container image; many an archive has a `manifest.json` that says something else."""
    return (_LAYOUT in blobs and _INDEX in blobs) or _is_saved(blobs)


def _is_saved(blobs: Blobs) -> bool:
    try:
        entries = _json(blobs, _MANIFEST) if _MANIFEST in blobs else None
    except ArtifactError:
        return False
    return isinstance(entries, list) and all(isinstance(entry, dict) and "Layers" in entry for entry in entries)


def images_of(blobs: Blobs) -> list[Image]:
    """The images; several where there are several tags or platforms.

    Raises
    ------
    ArtifactError: what says so is missing or damaged.
    """
    try:
        found = list(_saved(blobs)) if _is_saved(blobs) else []
        if not found or (_LAYOUT in blobs and _INDEX in blobs):  # `docker save` of today writes both
            known = {one.layers for one in found}
            found += [one for one in _indexed(blobs) if one.layers not in known]
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"damaged container image: {type(error).__name__}: {error}") from None
    if not found:
        raise ArtifactError("a container image without layers")
    if len({one.layers for one in found}) == 1:
        return [Image("", found[0].layers)]
    return sorted(_labelled(list(dict.fromkeys(found))))


class _Found(NamedTuple):
    """One image, and what tells it from others; each may be empty but the digest."""

    tag: str
    platform: str
    digest: str
    layers: tuple[str, ...]


#: What images are called: the first of these that only one image has.
_LABELS: tuple[Callable[[_Found], str], ...] = (
    lambda one: one.platform or one.tag or one.digest,
    lambda one: "-".join(part for part in (one.tag, one.platform) if part),
    lambda one: "-".join(part for part in (one.tag, one.platform) if part) + f"#{one.digest}",
)


def _labelled(found: list[_Found]) -> Iterator[Image]:
    """Each under a label that no other one has."""
    counts = [Counter(map(make, found)) for make in _LABELS]
    taken: set[str] = set()
    for number, one in enumerate(found):
        labels = [make(one) for make, count in zip(_LABELS, counts, strict=True) if count[make(one)] == 1]
        label = next((label for label in labels if label not in taken), f"{_LABELS[-1](one)}#{number}")
        taken.add(label)
        yield Image(label, one.layers)


def _saved(blobs: Blobs) -> Iterator[_Found]:
    """The images of a `manifest.json`."""
    for entry in _limited(_json(blobs, _MANIFEST), _MOST_IMAGES, "images"):
        tags = entry.get("RepoTags") or [""]
        layers = [posixpath.normpath(str(name)) for name in _limited(entry["Layers"], _MOST_LAYERS, "layers")]
        yield _Found(_label(str(tags[0])), "", _short(str(entry["Config"])), tuple(layers))


def _indexed(blobs: Blobs) -> Iterator[_Found]:
    """The images of an `index.json`."""
    pending = [(_INDEX, "", "", 0)]
    seen = 0
    while pending:
        name, tag, platform, depth = pending.pop()
        data = _json(blobs, name)
        seen += 1
        if depth > _MOST_INDEXES or seen > 2 * _MOST_IMAGES:
            raise ArtifactError(f"a container image with more than {_MOST_IMAGES} images")
        if "manifests" in data:
            for one in _limited(data["manifests"], _MOST_IMAGES, "images"):
                if _ATTESTATION not in (one.get("annotations") or {}):
                    below = _tag(one) or tag, _platform(one) or platform
                    pending.append((_blob(one["digest"]), *below, depth + 1))
        elif "layers" in data:
            layers = _limited(data["layers"], _MOST_LAYERS, "layers")
            for layer in layers:
                if "tar" not in str(layer.get("mediaType", "tar")) or "encrypted" in str(layer.get("mediaType")):
                    raise ArtifactError(f"a layer of the type {layer['mediaType']}: not read")
            yield _Found(tag, platform, _short(name), tuple(_blob(layer["digest"]) for layer in layers))
        else:
            raise ArtifactError(f"{name} is neither an index nor a manifest")


def _platform(descriptor: Any) -> str:
    platform = descriptor.get("platform") or {}
    parts = [str(platform.get(key) or "") for key in ("os", "architecture", "variant")]
    return _label("-".join(part for part in parts if part))


def _tag(descriptor: Any) -> str:
    annotations = descriptor.get("annotations") or {}
    return _label(str(annotations.get("org.opencontainers.image.ref.name") or ""))


def _short(name: str) -> str:
    """The beginning of the digest that a blob is called by."""
    return name.rpartition("/")[2][:12]


def _label(text: str) -> str:
    return text.replace("/", "-")


def _blob(digest: Any) -> str:
    match = _DIGEST.fullmatch(str(digest))
    if match is None:
        raise ArtifactError("damaged container image: a digest that is none")
    return f"blobs/{match[1]}/{match[2]}"


def _limited(items: Any, most: int, what: str) -> list[Any]:
    if not isinstance(items, list) or len(items) > most:
        raise ArtifactError(f"a container image without a list of {what}, or with more than {most}")
    return items


def _json(blobs: Blobs, name: str) -> Any:
    with blobs.open(name) as source:
        if source.size > _MOST_JSON:
            raise ArtifactError(f"{name} is larger than {_MOST_JSON >> 20} MiB")
        try:
            return json.loads(source.read(0, source.size))
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"{name} is no JSON: {error}") from None

"""Container images: the file system that the layers make, as an engine would show it."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from pytest_hardening.artifacts.discovery import discover

from .conftest import Built, Layout, folder, link, tar_of, zip_of


def names(path: Path) -> list[str]:
    """The files of an image; nothing may be wrong with it."""
    found = discover([str(path)], base=str(path.parent))
    assert found.problems == ()
    return [artifact.display.removeprefix(f"{path.name}!/") for artifact in found.artifacts]


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., Path]:
    """`image(layer, layer ...)`: an OCI layout as a tar archive, its layers compressed with gzip."""

    def image(*layers: bytes) -> Path:
        layout = Layout()
        layout.image(*(gzip.compress(layer) for layer in layers))
        path = tmp_path / "image.tar"
        path.write_bytes(tar_of(layout.files))
        return path

    return image


def test_upper_layers_replace_and_hide(image: Callable[..., Path], built: Built) -> None:
    tool = built.tool
    lower = {
        "usr/bin/kept": tool,
        "usr/bin/replaced": tool,
        "usr/bin/hidden": tool,
        "opt/gone/a/b": tool,
        "opt/opaque/old": tool,
        "opt/was-folder/x": tool,
        "opt/becomes-folder": tool,
        "opt/becomes-link": tool,
    }
    upper = {
        "usr/bin/replaced": b"#!/bin/sh\n",
        "usr/bin/.wh.hidden": b"",
        "usr/bin/new": tool,
        "opt/.wh.gone": b"",
        "opt/opaque/new": tool,
        "opt/opaque/.wh..wh..opq": b"",  # behind what the same layer adds, which stays
        "opt/was-folder": tool,
        "opt/becomes-folder": folder("opt/becomes-folder"),
        "opt/becomes-folder/x": tool,
        "opt/becomes-link": link("opt/becomes-link", "/usr/bin/kept"),
        ".wh..wh.plnk": b"",
    }
    assert names(image(tar_of(lower), tar_of(upper))) == [
        "opt/becomes-folder/x",
        "opt/opaque/new",
        "opt/was-folder",
        "usr/bin/kept",
        "usr/bin/new",
    ]


def test_a_whiteout_hides_what_is_below_it_alone(image: Callable[..., Path], built: Built) -> None:
    same_layer = {"a/x": built.tool, "a/.wh.x": b"", ".wh.a": b""}
    assert names(image(tar_of({"a/y": built.tool}), tar_of(same_layer))) == ["a/x"]


def test_hidden_and_added_again(image: Callable[..., Path], built: Built) -> None:
    layers = ({"a": built.tool}, {".wh.a": b""}, {"a": built.library}, {"b": b"x"})
    path = image(*map(tar_of, layers))
    (found,) = discover([str(path)]).artifacts
    assert Path(found.path).read_bytes() == built.library


def test_folders_that_are_links(image: Callable[..., Path], built: Built) -> None:
    """`bin/x` of an upper layer replaces `usr/bin/x` where `bin` is a link."""
    lower = {"usr/bin/x": built.tool, "usr/bin/y": built.tool, "bin": link("bin", "usr/bin")}
    assert names(image(tar_of(lower), tar_of({"bin/x": b"text"}))) == ["usr/bin/y"]


def test_links_stay_inside(image: Callable[..., Path], built: Built) -> None:
    lower = {"up": link("up", "../../../etc"), "root": link("root", "/usr/bin"), "loop": link("loop", "loop")}
    path = image(tar_of(lower), tar_of({"up/x": built.tool, "root/y": built.tool, "loop/z": built.tool}))
    found = discover([str(path)], base=str(path.parent))
    assert [one.display for one in found.artifacts] == ["image.tar!/etc/x", "image.tar!/usr/bin/y"]
    assert found.problems == (("image.tar!/loop/z", "its folder is a link that leads to itself: not unpacked"),)


def test_hard_links(image: Callable[..., Path], built: Built) -> None:
    """One file under several names, which is there until the last of them is hidden."""
    lower = {"b": built.tool, "a": link("a", "b", b"1"), "c": link("c", "b", b"1")}
    assert names(image(tar_of(lower))) == ["a"]
    assert names(image(tar_of(lower), tar_of({".wh.a": b"", ".wh.b": b""}))) == ["c"]
    assert names(image(tar_of({"b": built.tool}), tar_of({"z": link("z", "b", b"1"), ".wh.b": b""}))) == ["z"]


def test_absolute_names_are_below_the_root(image: Callable[..., Path], built: Built) -> None:
    assert names(image(tar_of({"/app": built.tool}), tar_of({"./app2": built.tool, "app": b"text"}))) == ["app2"]


def test_packages_in_images(image: Callable[..., Path], built: Built) -> None:
    wheel = zip_of({"x.abi3.so": built.plugin})
    path = image(tar_of({"x/a.whl": wheel, "x/b.whl": wheel}), tar_of({"x/.wh.b.whl": b""}))
    assert names(path) == ["x/a.whl!/x.abi3.so"]
    assert not [file for file in Path(discover([str(path)]).artifacts[0].path).parent.iterdir() if zipped(file)]


def zipped(path: Path) -> bool:
    return path.read_bytes().startswith(b"PK")


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
def test_layout_folder(tmp_path: Path, built: Built, compress: Callable[[bytes], bytes]) -> None:
    layout = Layout()
    layout.image(compress(tar_of({"usr/bin/tool": built.tool})))
    assert names(layout.write(tmp_path / "image")) == ["usr/bin/tool"]


def test_several_platforms(tmp_path: Path, built: Built) -> None:
    layout = Layout()
    layout.image(tar_of({"x": built.tool}), platform={"os": "linux", "architecture": "amd64"})
    layout.image(tar_of({"y": built.tool}), platform={"os": "linux", "architecture": "arm", "variant": "v7"})
    layout.image(tar_of({"z": b"1"}), annotations={"vnd.docker.reference.type": "attestation-manifest"})
    assert names(layout.write(tmp_path / "image")) == ["linux-amd64!/x", "linux-arm-v7!/y"]


AMD64 = {"platform": {"os": "linux", "architecture": "amd64"}}


def tagged(name: str) -> dict[str, object]:
    return {"annotations": {"org.opencontainers.image.ref.name": name}}


def test_several_images_of_one_platform(tmp_path: Path, built: Built) -> None:
    """None of them stands for the others: by their tags, and without tags by their digests."""
    layout = Layout()
    for tag in ("v1", "v2"):
        layout.image(tar_of({f"x-{tag}": built.tool}), **AMD64, **tagged(tag))
    layout.image(tar_of({"y": built.tool}), platform={"os": "linux", "architecture": "arm64"})
    layout.image(tar_of({"y": built.tool}), platform={"os": "linux", "architecture": "arm64"})
    assert names(layout.write(tmp_path / "tags")) == ["linux-arm64!/y", "v1-linux-amd64!/x-v1", "v2-linux-amd64!/x-v2"]
    layout = Layout()
    for name in ("a/b", "a-b", "a-b"):
        layout.image(tar_of({f"x{len(layout.manifests)}": built.tool}), **AMD64, **tagged(name))
    digests = [str(one["digest"]).removeprefix("sha256:")[:12] for one in layout.manifests]
    expected = [f"a-b-linux-amd64#{digest}!/x{number}" for number, digest in enumerate(digests)]
    assert names(layout.write(tmp_path / "digests")) == sorted(expected)


def test_tags_of_indexes(tmp_path: Path, built: Built) -> None:
    """What `skopeo copy --all` writes of two tags: an index of platforms for each."""
    layout, top = Layout(), []
    for tag in ("v1", "v2"):
        layout.manifests = []
        layout.image(tar_of({f"x-{tag}": built.tool}), **AMD64)
        index = layout.blob(layout.files["index.json"], "application/vnd.oci.image.index.v1+json")
        top.append({**index, **tagged(tag)})
    layout.files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": top}).encode()
    assert names(layout.write(tmp_path / "image")) == ["v1-linux-amd64!/x-v1", "v2-linux-amd64!/x-v2"]


def test_a_manifest_that_names_one_image_of_several(tmp_path: Path, built: Built) -> None:
    layout = Layout()
    for name in ("a", "b"):
        layout.image(tar_of({name: built.tool}), **tagged(name))
    (layer,) = [name for name, data in layout.files.items() if data.startswith(b"a\0")]
    manifest = [{"Config": "c", "RepoTags": ["x:1"], "Layers": [layer]}]
    layout.files["manifest.json"] = json.dumps(manifest).encode()
    (tmp_path / "saved.tar").write_bytes(tar_of(layout.files))
    assert names(tmp_path / "saved.tar") == ["b!/b", "x:1!/a"]


def saved(*layers: bytes) -> dict[str, bytes]:
    """What `docker save` wrote before version 25: a folder for each layer."""
    files = {f"{number:064x}/layer.tar": layer for number, layer in enumerate(layers)}
    config = f"{'c' * 64}.json"
    manifest = [{"Config": config, "RepoTags": ["x:latest"], "Layers": list(files)}]
    return {**files, config: b"{}", "manifest.json": json.dumps(manifest).encode()}


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_docker_save(tmp_path: Path, built: Built, compress: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "saved.tar"
    layers = tar_of({"a": built.tool, "b": built.tool}), tar_of({".wh.b": b""})
    path.write_bytes(compress(tar_of(saved(*layers))))
    assert names(path) == ["a"]


def test_docker_save_of_today(tmp_path: Path, built: Built) -> None:
    """An OCI layout with a manifest.json beside."""
    layout = Layout()
    layout.image(tar_of({"a": built.tool}))
    layers = [name for name, data in layout.files.items() if data.startswith(b"a\0")]
    layout.files["manifest.json"] = json.dumps([{"Config": "c", "RepoTags": None, "Layers": layers}]).encode()
    (tmp_path / "saved.tar").write_bytes(tar_of(layout.files))
    assert names(tmp_path / "saved.tar") == ["a"]


def test_layers_that_are_links(tmp_path: Path, built: Built) -> None:
    files = saved(tar_of({"a": built.tool}), b"")
    (first, second, *_) = files
    members = {**files, second: link(second, f"../{first}")}
    (tmp_path / "saved.tar").write_bytes(tar_of(members))
    assert names(tmp_path / "saved.tar") == ["a"]


def test_a_manifest_of_something_else(tmp_path: Path, built: Built) -> None:
    """Many an archive has a `manifest.json` or a folder `blobs`: nothing of them may vanish."""
    blob = f"blobs/sha256/{'a' * 64}"
    members = {"manifest.json": b'{"name": "x"}', "bin/tool": built.tool, blob: built.tool}
    layer = {f"{'b' * 64}/layer.tar": tar_of({"x": built.tool})}
    (tmp_path / "x.tar").write_bytes(tar_of({**members, **layer}))
    assert names(tmp_path / "x.tar") == [f"{'b' * 64}/layer.tar!/x", "bin/tool", blob]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"index.json": b"{"}, "index.json is no JSON"),
        ({"index.json": b"[]"}, "neither an index nor a manifest"),
        ({"index.json": b"{}"}, "neither an index nor a manifest"),
        ({"index.json": b'{"manifests": 1}'}, "without a list of images"),
        ({"index.json": b'{"manifests": [1]}'}, "damaged container image"),
        ({"index.json": b'{"manifests": [{}]}'}, "damaged container image"),
        ({"index.json": b'{"manifests": []}'}, "a container image without layers"),
        ({"index.json": b'{"manifests": [{"digest": "sha256:../../../etc/passwd"}]}'}, "a digest that is none"),
        ({"index.json": b'{"manifests": [{"digest": "sha256:' + b"0" * 64 + b'"}]}'}, "is missing"),
        ({"index.json": b"[" * 100_000}, "index.json is no JSON"),
    ],
)
def test_damaged_images(tmp_path: Path, built: Built, change: dict[str, bytes], reason: str) -> None:
    layout = Layout()
    layout.image(tar_of({"a": built.tool}))
    (tmp_path / "image.tar").write_bytes(tar_of({**layout.files, **change}))
    ((name, told),) = discover([str(tmp_path / "image.tar")], base=str(tmp_path)).problems
    assert name == "image.tar"
    assert reason in told


def test_one_damaged_layer(image: Callable[..., Path], built: Built) -> None:
    """The others are judged all the same."""
    found = discover([str(image(tar_of({"a": built.tool}), b"no tar", tar_of({"b": built.tool})))])
    assert [one.display.rpartition("!/")[2] for one in found.artifacts] == ["a", "b"]
    ((_, reason),) = found.problems
    assert reason.startswith("layer ")
    assert "damaged tar archive" in reason


def test_an_index_that_names_itself(tmp_path: Path) -> None:
    layout = Layout()
    index = b'{"manifests": [' + b",".join([b'{"digest": "sha256:' + b"0" * 64 + b'"}'] * 60) + b"]}"
    layout.files |= {f"blobs/sha256/{'0' * 64}": index, "index.json": index}
    ((_, reason),) = discover([str(layout.write(tmp_path / "image"))]).problems
    assert reason == "a container image with more than 64 images"


def test_no_blob_from_outside(tmp_path: Path, built: Built) -> None:
    layout = Layout()
    layout.image(tar_of({"a": built.tool}))
    folder_ = layout.write(tmp_path / "image")
    (blob,) = [path for path in (folder_ / "blobs/sha256").iterdir() if path.read_bytes().startswith(b"a\0")]
    blob.rename(tmp_path / "outside")
    blob.symlink_to(tmp_path / "outside")
    ((_, reason),) = discover([str(folder_)]).problems
    assert "lies outside of the image" in reason


def test_an_engine_agrees(tmp_path: Path, image: Callable[..., Path], built: Built) -> None:
    """What GNU tar unpacks of one layer is what is found in it."""
    layer = tar_of({"usr/bin/x": built.tool, "bin": link("bin", "usr/bin"), "bin/y": built.tool})
    (tmp_path / "layer.tar").write_bytes(layer)
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "layer.tar", "-C", tmp_path / "out"], check=True)
    unpacked = [str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert names(image(layer)) == sorted(unpacked)

"""Packages of all kinds, made by the tools that make them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from pytest_hardening.fixtures import CompileC

SOURCE = "int f(int x) { return x; }\nint main(void) { return f(0); }\n"
TEXT = b"#!/bin/sh\n"


class Built(NamedTuple):
    """Files to be packed: a program without RELRO, a library, a plug-in and a static archive."""

    tool: bytes
    library: bytes
    plugin: bytes
    archive: bytes


@pytest.fixture
def built(build: CompileC) -> Built:
    library = "int f(int x) { return x; }\n"
    soname = ["-Wl,-soname,libx.so.1"]
    return Built(
        build(SOURCE, flags=["-O2", "-fPIE", "-pie"], link_flags=["-Wl,-z,norelro"], name="tool").read_bytes(),
        build(library, "shared-library", ["-O2", "-fPIC"], soname, name="libx.so.1").read_bytes(),
        build(library, "shared-library", ["-O2", "-fPIC"], name="plug.so").read_bytes(),
        build(library, "archive", ["-O2"], name="libx.a").read_bytes(),
    )


@pytest.fixture
def root(tmp_path: Path, built: Built) -> Path:
    """What is installed: the files, links to them, and files that are no business of ours."""
    root = tmp_path / "root"
    for name, content in {
        "usr/bin/tool": built.tool,
        "usr/bin/script": TEXT,
        "usr/lib/libx.so.1": built.library,
        "usr/lib/libx.a": built.archive,
        "usr/share/doc/notes.gz": gzip.compress(b"notes"),
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o644)
    (root / "usr/bin/tool").chmod(0o4755)
    (root / "usr/bin/tool-1").hardlink_to(root / "usr/bin/tool")
    (root / "usr/lib/libx.so").symlink_to("libx.so.1")
    (root / "usr/lib/passwd").symlink_to("/etc/passwd")
    return root


#: What is to be judged of `root`, by name.
INSIDE = {"usr/bin/tool": "tool", "usr/lib/libx.a": "archive", "usr/lib/libx.so.1": "library"}


def command(*words: str | Path, folder: Path | None = None, **variables: str) -> None:
    environment = {**os.environ, **variables}
    subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True, timeout=120)


@pytest.fixture
def deb(tmp_path: Path, root: Path, tool_for: Callable[[str], str]) -> Callable[..., Path]:
    """`deb(compression="xz")`: what dpkg-deb makes of `root`."""

    def deb(compression: str = "xz", name: str = "x_1.0_amd64.deb") -> Path:
        tree = tmp_path / "deb" / name
        shutil.copytree(root, tree, symlinks=True)
        (tree / "usr/bin/tool-1").unlink()
        (tree / "usr/bin/tool-1").hardlink_to(tree / "usr/bin/tool")
        (tree / "DEBIAN").mkdir()
        text = "Package: x\nVersion: 1.0\nArchitecture: amd64\nMaintainer: m <m@example.org>\nDescription: x\n"
        (tree / "DEBIAN/control").write_text(text)
        path = tmp_path / name
        options = ["--root-owner-group", f"-Z{compression}"]
        command(tool_for("dpkg-deb"), *options, "-b", tree, path)
        return path

    return deb


SPEC = """
Name: x
Version: 1.0
Release: 1
Summary: x
License: x
%description
x
%install
cp -a %{root}/. %{buildroot}
%files
/usr
"""


@pytest.fixture
def rpm(tmp_path: Path, root: Path, tool_for: Callable[[str], str]) -> Callable[[str], Path]:
    """`rpm("w19.zstdio")`: what rpmbuild makes of `root`, with this compression."""

    def rpm(payload: str) -> Path:
        spec = tmp_path / "x.spec"
        spec.write_text(SPEC)
        top = tmp_path / f"rpm-{payload}"
        given = {
            "_topdir": top,
            "_dbpath": top / "db",
            "root": root,
            "_binary_payload": payload,
            "__os_install_post": "%{nil}",
        }
        given |= {"_build_id_links": "none", "debug_package": "%{nil}"}
        defines = [word for name, value in given.items() for word in ("--define", f"{name} {value}")]
        command(tool_for("rpmbuild"), "-bb", "--nodeps", *defines, spec, HOME=str(tmp_path))
        (found,) = top.glob("RPMS/*/*.rpm")
        return found

    return rpm


def tar(path: Path, root: Path, *options: str) -> Path:
    """What GNU tar makes of a folder."""
    command("tar", *options, "-cf", path, "-C", root, ".")
    return path


def tar_of(members: Mapping[str, object], mode: int = 0o755, end: bool = True) -> bytes:
    """A tar archive of files by name, or of members that no tool would write."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
        size = archive.offset
    return stream.getvalue() if end else stream.getvalue()[:size]


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def folder(name: str) -> tarfile.TarInfo:
    return link(name, "", tarfile.DIRTYPE)


def zip_of(
    members: Mapping[str, bytes], modes: Mapping[str, int] | None = None, method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    """A zip archive of files by name."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (modes or {}).get(name, 0o100644) << 16
            archive.writestr(info, content, method)
    return stream.getvalue()


class Layout:
    """An OCI layout in the making: blobs, and the index."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
        self.manifests: list[dict[str, object]] = []

    def blob(self, data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def image(self, *layers: bytes, **more: object) -> None:
        described = [self.blob(layer, "application/vnd.oci.image.layer.v1.tar+gzip") for layer in layers]
        config = self.blob(b"{}", "application/vnd.oci.image.config.v1+json")
        manifest = {"schemaVersion": 2, "config": config, "layers": described}
        media_type = "application/vnd.oci.image.manifest.v1+json"
        self.manifests.append({**self.blob(json.dumps(manifest).encode(), media_type), **more})
        self.files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": self.manifests}).encode()

    def write(self, folder: Path) -> Path:
        for name, data in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder

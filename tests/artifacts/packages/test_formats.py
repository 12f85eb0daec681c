"""Every kind of package yields the same files, with the bytes and the modes that were packed."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from pytest_hardening import Kind, Outcome, inspect
from pytest_hardening.artifacts.discovery import Discovery, artifact_at, discover
from pytest_hardening.model import Artifact

from .conftest import INSIDE, TEXT, Built, command, link, tar, tar_of, zip_of


def files(path: Path) -> dict[str, Artifact]:
    """The artifacts of a package by their names in it; nothing may be wrong with it."""
    found = discover([str(path)], base=str(path.parent))
    assert found.problems == ()
    assert [artifact.display for artifact in found.artifacts] == sorted(one.display for one in found.artifacts)
    prefix = f"{path.name}!/"
    assert all(artifact.display.startswith(prefix) for artifact in found.artifacts)
    return {artifact.display.removeprefix(prefix): artifact for artifact in found.artifacts}


def assert_is_root(path: Path, built: Built, *, has_modes: bool = True) -> None:
    found = files(path)
    assert found.keys() == INSIDE.keys()
    for name, field in INSIDE.items():
        assert Path(found[name].path).read_bytes() == getattr(built, field)
        folder = Path(found[name].path).parents[1]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(os.stat(found[name]).st_mode) == 0o600
    packed = found["usr/bin/tool"].packed
    assert packed is not None
    assert packed.mode == (stat.S_IFREG | 0o4755 if has_modes else 0)
    assert packed.package == str(path.resolve())


@pytest.mark.parametrize("compression", ["none", "gzip", "xz", "zstd"])
def test_deb(deb: Callable[..., Path], built: Built, compression: str) -> None:
    assert_is_root(deb(compression), built)


@pytest.mark.parametrize("payload", ["w9.gzdio", "w6.xzdio", "w9.bzdio", "w19.zstdio", "w6.lzdio", "w.ufdio"])
def test_rpm(rpm: Callable[[str], Path], built: Built, payload: str) -> None:
    assert_is_root(rpm(payload), built)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("x.tar", "--format=gnu"),
        ("x.tar.gz", "-z"),
        ("x.tgz", "-z"),
        ("x.tar.xz", "-J"),
        ("x.tar.bz2", "-j"),
        ("x.tar.zst", "--zstd"),
        ("x.tar", "--format=ustar"),
        ("x.tar", "--format=pax"),
        ("x.tar", "--format=v7"),
        ("without-a-name-that-tells", "-z"),
    ],
)
def test_tar(tmp_path: Path, root: Path, built: Built, name: str, option: str) -> None:
    assert_is_root(tar(tmp_path / name, root, option), built)


def test_sparse_files(tmp_path: Path, root: Path, built: Built) -> None:
    command("dd", "if=/dev/null", f"of={root / 'usr/lib/libx.so.1'}", "bs=1", "seek=900000")  # a hole at its end
    for option in ("0.0", "0.1", "1.0"):
        path = tar(tmp_path / f"{option}.tar", root, "--sparse", "--format=posix", f"--sparse-version={option}")
        assert Path(files(path)["usr/lib/libx.so.1"].path).read_bytes() == built.library.ljust(900_000, b"\0")


def test_zip(tmp_path: Path, root: Path, built: Built) -> None:
    names = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name != "tool-1"]
    content = {str(path.relative_to(root)): path.read_bytes() for path in names if not path.is_symlink()}
    modes = {"usr/bin/tool": stat.S_IFREG | 0o4755}
    (tmp_path / "x.zip").write_bytes(
        zip_of({**content, "usr/lib/link.so": b"x"}, {**modes, "usr/lib/link.so": 0o120777})
    )
    assert_is_root(tmp_path / "x.zip", built)
    (tmp_path / "app.apk").write_bytes(zip_of(content, modes, zipfile.ZIP_STORED))  # Android's
    assert_is_root(tmp_path / "app.apk", built, has_modes=False)


def test_alpine(tmp_path: Path, built: Built) -> None:
    """Gzip streams one behind the other, of which only the last has tar's end mark (abuild-tar --cut)."""
    parts = [
        tar_of({".SIGN.RSA.x.rsa.pub": b"signature"}, end=False),
        tar_of({".PKGINFO": b"pkgname = x"}, end=False),
        tar_of({"usr/bin/tool": built.tool, "usr/bin/script": TEXT}),
    ]
    path = tmp_path / "x-1.0-r0.apk"
    path.write_bytes(b"".join(gzip.compress(part) for part in parts))
    assert list(files(path)) == ["usr/bin/tool"]


def test_wheel(tmp_path: Path, built: Built) -> None:
    members = {
        "pkg/__init__.py": b"",
        "pkg/_tagged.cpython-311-x86_64-linux-gnu.so": built.plugin,
        "pkg/_stable.abi3.so": built.plugin,
        "pkg/untagged.so": built.plugin,
        "pkg/libdata.so": built.library,
        "pkg/data-files/plug.so": built.plugin,
        "pkg-1.0.data/platlib/top.so": built.plugin,
        "pkg-1.0.data/scripts/tool": built.tool,
        "pkg.libs/libx-0123abcd.so.1": built.library,
        "pkg-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\n",
    }
    path = tmp_path / "pkg-1.0-cp311-cp311-linux_x86_64.whl"
    path.write_bytes(zip_of(members))
    found = files(path)
    assert {name: artifact.role for name, artifact in found.items()} == {
        "pkg/_tagged.cpython-311-x86_64-linux-gnu.so": "plugin",
        "pkg/_stable.abi3.so": "plugin",
        "pkg/untagged.so": "plugin",
        "pkg/libdata.so": "",
        "pkg/data-files/plug.so": "",
        "pkg-1.0.data/platlib/top.so": "plugin",
        "pkg-1.0.data/scripts/tool": "",
        "pkg.libs/libx-0123abcd.so.1": "vendored",
    }
    assert all(artifact.packed is not None and not artifact.packed.mode for artifact in found.values())


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFDIR])
def test_modes_that_hide_files(tmp_path: Path, built: Built, kind: int) -> None:
    """pip, Java and Python's zipfile make a file of what a zip archive calls a link or a device."""
    content = zip_of({"pkg/x.abi3.so": built.plugin}, {"pkg/x.abi3.so": kind | 0o777})
    for name in ("x-1-py3-none-any.whl", "x.zip"):
        (tmp_path / name).write_bytes(content)
        assert list(files(tmp_path / name)) == ["pkg/x.abi3.so"]
    command(sys.executable, "-m", "zipfile", "-e", tmp_path / "x.zip", tmp_path / "out")
    if kind != stat.S_IFDIR:
        assert (tmp_path / "out/pkg/x.abi3.so").read_bytes() == built.plugin


def test_what_is_not_opened_is_counted(tmp_path: Path, built: Built) -> None:
    """Nobody may think that there was nothing in it."""
    page = "".join(f".SH {number * 7919}\n" for number in range(5000)).encode()
    inner = {
        "inner.nupkg": zip_of({"x.so": built.library}),
        "inner.gem": tar_of({"x.so": built.library}),
        "tool.gz": gzip.compress(built.tool),
        "mod.ko.xz": lzma.compress(built.library),
        "lib.a.lzma": lzma.compress(built.archive, lzma.FORMAT_ALONE),
        "data.gz": gzip.compress(tar_of({"x.so": built.library})),
        "twice.gz": gzip.compress(gzip.compress(built.tool)),
        "tool.bz2": bz2.compress(built.tool),
        "tool.zst": zstandard.compress(built.tool),
        "damaged.gz": b"\x1f\x8b\x08" + bytes(100),
        "app.snap": b"hsqs" + bytes(100),
    }
    others = {"page.1.gz": gzip.compress(page), "page.2.xz": lzma.compress(page), "text": b"P", "empty": b""}
    (tmp_path / "x.zip").write_bytes(zip_of({**inner, **others, "tool": built.tool}))
    found = discover([str(tmp_path / "x.zip")], base=str(tmp_path))
    assert [one.display for one in found.artifacts] == ["x.zip!/tool"]
    assert found.left_out == {"archives and compressed files that were not opened": len(inner)}
    (tmp_path / "y.zip").write_bytes(zip_of(inner))
    ((_, reason),) = discover([str(tmp_path / "y.zip")]).problems
    assert reason.endswith("; left out: archives and compressed files that were not opened (11)")


def test_script_of_a_debian_package(tmp_path: Path, root: Path, deb: Callable[..., Path], built: Built) -> None:
    tree = tmp_path / "deb/x_1.0_amd64.deb"
    first = deb()
    first.unlink()
    (tree / "DEBIAN/preinst").write_bytes(built.tool)
    (tree / "DEBIAN/preinst").chmod(0o755)
    command("dpkg-deb", "--root-owner-group", "-b", tree, first)
    assert files(first).keys() == {"DEBIAN/preinst", *INSIDE}


def test_packages_in_packages(tmp_path: Path, deb: Callable[..., Path], built: Built) -> None:
    wheel = zip_of({"pkg/x.abi3.so": built.plugin})
    members = {
        "b.whl": wheel,
        "debs/x.deb": deb().read_bytes(),
        "source.tar.gz": gzip.compress(tar_of({"lib/libx.a": built.archive})),
        "notes.gz": gzip.compress(b"notes"),
        "picture.zip.txt": wheel,
    }
    (tmp_path / "a.zip").write_bytes(zip_of(members))
    found = files(tmp_path / "a.zip")
    assert found.keys() == {
        "b.whl!/pkg/x.abi3.so",
        *(f"debs/x.deb!/{name}" for name in INSIDE),
        "source.tar.gz!/lib/libx.a",
    }
    assert found["b.whl!/pkg/x.abi3.so"].role == "plugin"


def test_what_is_judged_is_what_was_packed(tmp_path: Path, deb: Callable[..., Path], root: Path) -> None:
    """Name, kind, mode and members: everything but the path."""
    path = deb()
    for name in INSIDE:
        packed, installed = inspect(artifact_at(f"{path}!/{name}")), inspect(root / name)
        assert packed.artifact.error is None
        assert (packed.artifact.kind, packed.artifact.verdicts) == (
            installed.artifact.kind,
            installed.artifact.verdicts,
        )
        assert [one.member for one in packed.members] == [one.member for one in installed.members]
    assert inspect(f"{path}!/usr/bin/tool").verdict("file-mode").outcome is Outcome.FAIL
    assert inspect(f"{path}!/usr/lib/libx.so.1").artifact.kind is Kind.SHARED_LIBRARY
    assert inspect(path).artifact.error == "a package, of which single files are judged: name one as PACKAGE!/NAME"
    assert inspect(f"{path}!/usr/bin/nothing").artifact.error == "does not exist"


def test_kind_follows_the_name_in_the_package(tmp_path: Path, built: Built) -> None:
    (tmp_path / "x.tar").write_bytes(tar_of({"lib/plug.so": built.plugin, "lib/libplug.so": built.plugin}))
    kinds = [inspect(f"{tmp_path}/x.tar!/lib/{name}.so").artifact.kind for name in ("plug", "libplug")]
    assert kinds == [Kind.MODULE, Kind.SHARED_LIBRARY]


def test_folders(tmp_path: Path, deb: Callable[..., Path], built: Built) -> None:
    """In folders only what is surely a package is opened; one without ELF files is counted."""
    dist = tmp_path / "dist"
    dist.mkdir()
    deb().rename(dist / "x.deb")
    (dist / "none.whl").write_bytes(zip_of({"pkg/__init__.py": b""}))
    (dist / "x.zip").write_bytes(zip_of({"libx.so": built.library}))
    (dist / "empty.whl").write_bytes(b"")
    (dist / "again.deb").symlink_to("x.deb")
    found = discover([str(dist)], base=str(tmp_path))
    assert [one.display for one in found.artifacts] == [f"dist/x.deb!/{name}" for name in sorted(INSIDE)]
    assert found.problems == (("dist/empty.whl", "named like a package, and is empty"),)
    assert found.left_out == {"packages without ELF files": 1}
    assert discover([str(dist / "none.whl")], base=str(dist)).problems == (
        ("none.whl", "holds no linked ELF file or static archive"),
    )


def test_patterns(tmp_path: Path, deb: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    deb(name="a.deb")
    deb(name="b.deb")
    monkeypatch.chdir(tmp_path)

    def names(found: Discovery) -> list[str]:
        assert found.problems == ()
        return [one.display for one in found.artifacts]

    assert len(names(discover(["*.deb"]))) == 2 * len(INSIDE)
    assert names(discover(["a.deb!/usr/bin"])) == ["a.deb!/usr/bin/tool"]
    assert names(discover(["*.deb!/usr/lib/*.a"])) == ["a.deb!/usr/lib/libx.a", "b.deb!/usr/lib/libx.a"]
    assert names(discover(["a.deb", "a.deb!/usr/bin/tool"])) == [f"a.deb!/{name}" for name in sorted(INSIDE)]
    Path("cut.deb").write_bytes(Path("a.deb").read_bytes()[:-100])
    assert [name for name, _ in discover(["cut.deb!/usr/bin/tool"]).problems] == ["cut.deb"]
    assert discover(["a.deb!/usr/nothing"]).problems == (("a.deb!/usr/nothing", "matches no file"),)
    assert discover(["c.deb!/usr/bin"]).problems == (("c.deb!/usr/bin", "does not exist"),)


def test_what_is_left_out_is_counted(tmp_path: Path, build: Callable[..., Path], built: Built) -> None:
    unit = build("int x;", "object").read_bytes()
    members = {"crt1.o": unit, "libx.so": b"/* GNU ld script */ INPUT(-lx)", "core.ko": b"?", "conftest": built.tool}
    (tmp_path / "x.tar").write_bytes(tar_of(members))
    found = discover([str(tmp_path / "x.tar")], base=str(tmp_path))
    assert [one.display for one in found.artifacts] == ["x.tar!/conftest", "x.tar!/core.ko"]  # no build, no probes
    assert found.left_out == {"objects": 1, "linker scripts": 1}
    assert "x.tar!/crt1.o" in [
        one.display for one in discover([str(tmp_path / "x.tar")], base=str(tmp_path), objects=True).artifacts
    ]


def test_built_anew(tmp_path: Path, built: Built) -> None:
    path = tmp_path / "x.tar"
    for name in ("one", "two"):
        path.write_bytes(tar_of({name: built.tool}))
        os.utime(path, ns=(0, len(name + str(path.stat().st_mtime_ns))))
        path.write_bytes(tar_of({name: built.tool}))
        assert list(files(path)) == [name]


def test_missing_library(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that says what to install, not a skip. The name is taken away as if it were not installed."""
    path = tar(tmp_path / "y.tar.zst", root, "--zstd")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    ((name, reason),) = discover([str(path)], base=str(tmp_path)).problems
    assert (name, reason) == (
        "y.tar.zst",
        "compressed with zstd, which needs a library: pip install 'pytest-hardening[packages]'",
    )


def test_hard_link_before_its_file_and_links(tmp_path: Path, built: Built) -> None:
    members = {
        "a": built.tool,
        "b": link("b", "a", b"1"),
        "c": link("c", "/etc/passwd"),
        "d": link("d", "../../x", b"2"),
    }
    (tmp_path / "x.tar").write_bytes(tar_of(members))
    assert list(files(tmp_path / "x.tar")) == ["a"]

"""Packages made to do harm: a problem with a name, in bounded time and memory; what is sound is judged all the same."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import resource
import struct
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from pytest_hardening import ArtifactError
from pytest_hardening.artifacts.discovery import Discovery, discover
from pytest_hardening.artifacts.packages import file_system, limits, tars

from .conftest import Built, link, tar_of, zip_of

ELF = b"\x7fELF" + bytes(12) + b"\3\0" + bytes(100)


def found_in(path: Path, content: bytes) -> Discovery:
    path.write_bytes(content)
    return discover([str(path)], base=str(path.parent))


def names(found: Discovery) -> list[str]:
    return [artifact.display for artifact in found.artifacts]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/usr/bin/x", "its name is absolute: not unpacked"),
        ("../x", "its name leads out of the package: not unpacked"),
        ("a/../../x", "its name leads out of the package: not unpacked"),
        ("x" * 5000, "its name is too long: not unpacked"),
    ],
)
@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_names(tmp_path: Path, name: str, reason: str, pack: Callable[..., bytes]) -> None:
    file = tmp_path / ("x.tar" if pack is tar_of else "x.zip")
    found = found_in(file, pack({"sound": ELF, name: ELF}))
    assert names(found) == [f"{file.name}!/sound"]
    assert found.problems == ((f"{file.name}!/{name}", reason),)
    assert not list(tmp_path.parent.glob("x"))


def test_names_that_terminals_obey(tmp_path: Path) -> None:
    found = found_in(tmp_path / "x.tar", tar_of({"a\x1b[2J\n": ELF, "b\udcff": ELF, "c\u202e": ELF}))
    assert names(found) == ["x.tar!/a\\x1b[2J\\n", "x.tar!/b\\xff", "x.tar!/c\\u202e"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_name_twice(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for content in (b"text", ELF, ELF):
            archive.writestr("x", content)
    found = found_in(tmp_path / "x.zip", stream.getvalue())
    assert names(found) == []
    assert found.problems == (("x.zip!/x", "occurs more than once in the package: only the first one is judged"),)


def test_links_and_devices(tmp_path: Path) -> None:
    """Nothing of the machine is read or made, and what is written through a link lands nowhere."""
    members = {
        "sound": ELF,
        "etc": link("etc", "/etc"),
        "etc/x": ELF,
        "passwd": link("passwd", "/etc/passwd"),
        "hard": link("hard", "/etc/passwd", b"1"),
        "hard2": link("hard2", "../../../etc/passwd", b"1"),
        "null": link("null", "", tarfile.CHRTYPE),
        "disk": link("disk", "", tarfile.BLKTYPE),
        "pipe": link("pipe", "", tarfile.FIFOTYPE),
    }
    found = found_in(tmp_path / "x.tar", tar_of(members))
    assert names(found) == ["x.tar!/etc/x", "x.tar!/sound"]
    assert [name for name, _ in found.problems] == ["x.tar!/hard", "x.tar!/hard2"]
    for artifact in found.artifacts:
        assert Path(artifact.path).read_bytes() == ELF


def test_thin_archive(tmp_path: Path) -> None:
    """It names files of the machine that judges."""
    found = found_in(tmp_path / "x.tar", tar_of({"libx.a": b"!<thin>\n" + bytes(100)}))
    assert found.problems == (("x.tar!/libx.a", "a thin archive: it names its members and does not hold them"),)


def bombs() -> Iterator[tuple[str, bytes]]:
    """Many zeros behind the head of a library."""
    size = 1 << 27
    head = tarfile.TarInfo("libx.so")
    head.size = size
    start = head.tobuf() + ELF.ljust(512, b"\0")
    blocks = [start, *[bytes(1 << 20)] * (size >> 20)]
    for name, new in (("gz", None), ("bz2", bz2.BZ2Compressor), ("xz", lzma.LZMACompressor)):
        if new is None:
            stream = io.BytesIO()
            with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1) as file:
                for block in blocks:
                    file.write(block)
            yield name, stream.getvalue()
            continue
        compressor: Any = new()
        yield name, b"".join([*(compressor.compress(block) for block in blocks), compressor.flush()])
    zstd = zstandard.ZstdCompressor(level=1).compressobj()
    yield "zst", b"".join([*(zstd.compress(block) for block in blocks), zstd.flush()])


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_FREE", 1 << 23)
    for name, content in bombs():
        path = tmp_path / f"x.tar.{name}"
        path.write_bytes(content)
        tracemalloc.start()
        started = time.process_time()
        found = discover([str(path)], base=str(tmp_path))
        assert time.process_time() - started < 20
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
        tracemalloc.stop()
        assert names(found) == []
        ((_, reason),) = found.problems
        assert "a decompression bomb?" in reason


def test_zip_bomb_in_a_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_FREE", 1 << 24)
    inner = zip_of({f"lib{number}.so": ELF + bytes(16 << 20) for number in range(4)})
    found = found_in(tmp_path / "x.zip", zip_of({"sound": ELF, **{f"{number}.zip": inner for number in range(4)}}))
    assert names(found)[-1] == "x.zip!/sound"
    assert any("a decompression bomb?" in reason for _, reason in found.problems)
    assert len(found.problems) <= 6


def test_depth(tmp_path: Path) -> None:
    content = zip_of({"libx.so": ELF})
    for _ in range(50):
        content = zip_of({"x.zip": content})
    ((name, reason),) = found_in(tmp_path / "x.zip", content).problems
    assert reason == "not opened: more than 6 packages inside one another"
    assert name == "x.zip" + "!/x.zip" * 6


def test_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOST_MEMBERS", 10)
    found = found_in(tmp_path / "x.tar", tar_of({f"{number:02}": ELF for number in range(20)}))
    assert len(found.artifacts) == 10
    assert found.problems == (("x.tar", "not read to its end: more than 10 members"),)


def test_many_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOST_NAMES", 100)
    found = found_in(tmp_path / "x.zip", zip_of({f"{number:050}": b"" for number in range(3)}))
    assert "the names of its members" in found.problems[0][1]


def test_large_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_LARGEST_MEMBER", 1000)
    found = found_in(tmp_path / "x.zip", zip_of({"large": ELF + bytes(1000), "sound": ELF}))
    assert names(found) == ["x.zip!/sound"]
    ((name, reason),) = found.problems
    assert name == "x.zip!/large"
    assert "larger than" in reason


def test_many_problems_are_counted(tmp_path: Path) -> None:
    found = found_in(tmp_path / "x.tar", tar_of({f"../{number}": ELF for number in range(100)}))
    assert len(found.problems) == 21
    assert found.problems[-1] == ("x.tar", "and 80 more problems")


def test_folders_without_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_system, "_MOST_FOLDERS", 100)
    tree = file_system.FileSystem()
    with pytest.raises(ArtifactError, match="more than 100 folders"):
        tree.link("/".join("a" * 200), "x")


def test_layers_that_undo_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_system, "_MOST_STEPS", 10_000)
    tree = file_system.FileSystem()
    for number in range(200):
        tree.link(f"a/{number}", "x")
    hidden = (tree.whiteout(".wh.a") for _ in range(1000))
    with pytest.raises(ArtifactError, match="undo one another"):
        list(hidden)


def pax(size: int) -> bytes:
    """A PAX header that claims to be of some size."""
    head = tarfile.TarInfo("PaxHeaders/x")
    head.type, head.size = tarfile.XHDTYPE, size
    return head.tobuf()


@pytest.mark.parametrize(
    "content",
    [
        pax(1 << 40) + bytes(2048),
        pax(1 << 24) + bytes(1 << 24),
        b"".join([pax(512) + b"11 path=x\n".ljust(512, b"\0")] * 3000) + bytes(1024),
        tar_of({"x": ELF}, end=False) + b"garbage" * 1000,
        tar_of({"x": ELF})[:700],
        tar_of({"x": ELF})[:1024],
        tar_of({"x": ELF}, end=False) + b"\1" * 512 + tar_of({"y": ELF}),
        b"",
        b"\0" * 100,
    ],
)
def test_damaged_tar_archives(tmp_path: Path, content: bytes) -> None:
    found = found_in(tmp_path / "x.tar", content)
    assert [name for name, _ in found.problems] == ["x.tar"]
    assert "x.tar!/y" not in names(found)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_data_behind_the_end_mark(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """`cat a.tar b.tar`, of which `tar --ignore-zeros` finds everything."""
    reason = "a tar archive with data behind its end mark, which is not judged"
    for rest in (tar_of({"y": ELF}), bytes(5 << 20) + b"x"):
        for content in (pack(tar_of({"x": ELF})) + pack(rest), pack(tar_of({"x": ELF}) + rest)):
            found = found_in(tmp_path / "x.tar", content)
            assert names(found) == ["x.tar!/x"]
            assert found.problems == (("x.tar", reason),)
    apk = gzip.compress(tar_of({".PKGINFO": b"x"})) + gzip.compress(tar_of({"bin/y": ELF}))
    assert found_in(tmp_path / "x.apk", apk).problems == (("x.apk", reason),)
    assert found_in(tmp_path / "x.tar", pack(tar_of({"x": ELF}) + bytes(5 << 20))).problems == ()


def test_padding_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "_MOST_PADDING", 1 << 22)
    found = found_in(tmp_path / "x.tar", tar_of({"x": ELF}) + bytes(1 << 23))
    assert "behind its end mark" in found.problems[0][1]


@pytest.mark.parametrize(
    ("kind", "records", "reason"),
    [
        (tarfile.XHDTYPE, b"1" * (1 << 19), "a number of more than 64 digits"),
        (tarfile.XGLTYPE, b"".join(b"12 k%05d=1\n" % number for number in range(2000)), "100 PAX records"),
    ],
)
def test_headers_that_cost_time(tmp_path: Path, kind: bytes, records: bytes, reason: str) -> None:
    head = tarfile.TarInfo("PaxHeaders/x")
    head.type, head.size = kind, len(records)
    content = head.tobuf() + records + bytes(-len(records) % 512) + tarfile.TarInfo("x").tobuf() * 20_000
    started = time.process_time()
    ((_, told),) = found_in(tmp_path / "x.tar", content + bytes(1024)).problems
    assert reason in told
    assert time.process_time() - started < 5


def packages(built: Built, deb: Callable[..., Path], rpm: Callable[[str], Path]) -> Iterator[tuple[str, bytes]]:
    content = {"tool": built.tool, "libx.a": built.archive}
    yield "x.deb", deb().read_bytes()
    yield "x.zst.deb", deb("zstd", "y.deb").read_bytes()
    yield "x.rpm", rpm("w9.gzdio").read_bytes()
    yield "x.whl", zip_of(content)
    yield "x.tar.xz", lzma.compress(tar_of(content))
    yield "x.tar.bz2", bz2.compress(tar_of(content))
    yield "x.tar.gz", gzip.compress(tar_of(content))
    yield "x.tar.zst", zstandard.compress(tar_of(content))
    yield "x.tar", tar_of(content)


def test_truncated(tmp_path: Path, built: Built, deb: Callable[..., Path], rpm: Callable[[str], Path]) -> None:
    """Whatever is missing at the end, it is told."""
    for name, content in packages(built, deb, rpm):
        for part in (0.02, 0.3, 0.6, *([0.95] if name != "x.tar" else [])):  # of tar that is padding
            found = found_in(tmp_path / name, content[: int(len(content) * part)])
            assert found.problems, (name, part)


def test_damaged_at_random(tmp_path: Path, built: Built, deb: Callable[..., Path], rpm: Callable[[str], Path]) -> None:
    """Never another exception, never more than a moment."""
    chance = random.Random(1)  # noqa: S311
    for name, content in packages(built, deb, rpm):
        for _ in range(40):
            damaged = bytearray(content)
            for _ in range(chance.choice((1, 3, 30))):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            found = found_in(tmp_path / name, bytes(damaged))
            assert found.artifacts or found.problems


def test_xz_that_wants_memory(tmp_path: Path) -> None:
    """A dictionary of 1 GiB, of which a small stream needs nothing."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    content = lzma.compress(tar_of({"x": ELF}), filters=filters)
    limit = resource.getrlimit(resource.RLIMIT_AS)
    assert limit
    ((_, reason),) = found_in(tmp_path / "x.tar.xz", content).problems
    assert "Memory usage limit exceeded" in reason


def test_encrypted_and_strange_methods(tmp_path: Path) -> None:
    content = bytearray(zip_of({"x": ELF}))
    for at in (6, content.index(b"PK\1\2") + 8):
        content[at] |= 1
    found = found_in(tmp_path / "x.zip", bytes(content))
    assert found.problems == (("x.zip!/x", "encrypted: not unpacked"),)
    found = found_in(tmp_path / "y.zip", zip_of({"x": ELF}, method=zipfile.ZIP_BZIP2))
    assert found.problems == (("y.zip!/x", "compressed by a method that is not read here: bzip2"),)


def test_a_wrong_checksum(tmp_path: Path) -> None:
    content = bytearray(zip_of({"x": ELF, "y": ELF}, method=zipfile.ZIP_STORED))
    content[content.index(ELF) + 50] ^= 1
    found = found_in(tmp_path / "x.zip", bytes(content))
    assert names(found) == ["x.zip!/y"]
    assert found.problems == (("x.zip!/x", "damaged: Bad CRC-32 for file 'x'"),)


def test_rpm_headers(tmp_path: Path) -> None:
    lead = b"\xed\xab\xee\xdb".ljust(96, b"\0")
    huge = b"\x8e\xad\xe8\x01" + bytes(4) + struct.pack(">II", 0xFFFFFFFF, 0xFFFFFFFF)
    for content in (lead, lead + huge, lead + bytes(100), lead + huge[:8] + struct.pack(">II", 1, 100)):
        ((_, reason),) = found_in(tmp_path / "x.rpm", content).problems
        assert "truncated" in reason or "damaged" in reason


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on the size of files stands for it."""
    import signal

    path = tmp_path / "x.tar"
    path.write_bytes(tar_of({"x": ELF + bytes(1 << 16), "y": ELF}))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, limit[1]))
    try:
        found = discover([str(path)], base=str(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert found.problems == (("x.tar", "cannot be unpacked: File too large"),)

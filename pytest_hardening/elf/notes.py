"""GNU property notes (.note.gnu.property, PT_GNU_PROPERTY).

Source: "Linux Extensions to gABI" (program property), the x86-64 psABI (GNU_PROPERTY_X86_FEATURE_1_AND) and "ELF for
the Arm 64-bit Architecture" (GNU_PROPERTY_AARCH64_FEATURE_1_AND). Read here and not through pyelftools because its note
parser decides the padding by section type and stops at properties it does not know; this is what the kernel does.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from . import layout as elf
from .facts import Properties
from .image import Image
from .machines import EM_AARCH64, Machine

__all__ = ["build_id_of", "has_abi_tag", "loaded_build_id", "properties_of"]

_X86_FEATURE_1_AND = 0xC0000002
_AARCH64_FEATURE_1_AND = 0xC0000000
_MOST_NOTE = 1 << 16
_NT_GNU_BUILD_ID = 3


def properties_of(image: Image, machine: Machine) -> Properties:
    """The FEATURE_1_AND mask of x86 and AArch64 files: segments first, the section for object files."""
    wanted = _AARCH64_FEATURE_1_AND if machine.number == EM_AARCH64 else _X86_FEATURE_1_AND
    if image.header.type == elf.ET_REL:
        places = [
            (s.offset, s.size) for s in image.sections if s.type == elf.SHT_NOTE and s.name == ".note.gnu.property"
        ]
    else:
        kinds = [s.type for s in image.segments]
        kind = elf.PT_GNU_PROPERTY if elf.PT_GNU_PROPERTY in kinds else elf.PT_NOTE
        places = [(s.offset, s.filesz) for s in image.segments if s.type == kind]
    features: int | None = None
    for offset, size in places:
        found = _features(image, image.source.read(offset, min(size, _MOST_NOTE)), wanted)
        if found is not None:  # several notes in an object: the linker takes what all of them have
            features = found if features is None else features & found
    return Properties(features)


def has_abi_tag(image: Image) -> bool:
    """Whether the file carries NT_GNU_ABI_TAG for Linux, which glibc's start files put into every program (LSB)."""
    for segment in image.segments:
        if segment.type == elf.PT_NOTE:
            data = image.source.read(segment.offset, min(segment.filesz, _MOST_NOTE))
            if any(kind == 1 and body[:4] == bytes(4) and len(body) == 16 for kind, body in _gnu_notes(image, data)):
                return True
    return False


def build_id_of(image: Image) -> bytes:
    """The build identifier that the linker made of the contents (NT_GNU_BUILD_ID); empty where there is none."""
    places = [(s.offset, s.size) for s in image.sections if s.type == elf.SHT_NOTE]
    # a detached debug file has lost the contents of its segments, a file may have lost its section headers
    places = places or [(s.offset, s.filesz) for s in image.segments if s.type == elf.PT_NOTE]
    for offset, size in places:
        for kind, body in _gnu_notes(image, image.source.read(offset, min(size, _MOST_NOTE))):
            if kind == _NT_GNU_BUILD_ID and 2 <= len(body) <= 64:
                return body
    return b""


def loaded_build_id(image: Image) -> bytes:
    """The build identifier of a linked file as debuggers of a running process and of a core dump find it: in a PT_NOTE,
    of whatever size. Empty where there is none."""
    for segment in image.segments:
        if segment.type == elf.PT_NOTE:
            data = image.source.read(segment.offset, min(segment.filesz, _MOST_NOTE))
            for kind, body in _gnu_notes(image, data):
                if kind == _NT_GNU_BUILD_ID:
                    return body
    return b""


def _gnu_notes(image: Image, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and contents of the notes of owner GNU."""
    prefix, align = image.layout.prefix, image.layout.bits // 8
    position = 0
    while position + 12 <= len(data):
        name_size, size, kind = struct.unpack_from(prefix + "3I", data, position)
        name_end = position + 12 + (name_size + 3 & ~3)
        if data[position + 12 : position + 12 + name_size] == b"GNU\0":
            yield kind, data[name_end : name_end + size]
        wide = align == 8 and kind == elf.NT_GNU_PROPERTY_TYPE_0
        position = name_end + (size + align - 1 & ~(align - 1) if wide else size + 3 & ~3)


def _features(image: Image, data: bytes, wanted: int) -> int | None:
    """What all property notes of one place have; GCC writes a note for each property, in any order."""
    features: int | None = None
    for kind, body in _gnu_notes(image, data):
        found = None
        if kind == elf.NT_GNU_PROPERTY_TYPE_0:
            found = _property(body, image.layout.prefix, image.layout.bits // 8, wanted)
        if found is not None:
            features = found if features is None else features & found
    return features


def _property(body: bytes, prefix: str, align: int, wanted: int) -> int | None:
    position = 0
    while position + 8 <= len(body):
        kind, size = struct.unpack_from(prefix + "2I", body, position)
        if kind == wanted and size == 4 and position + 12 <= len(body):
            return int(struct.unpack_from(prefix + "I", body, position + 8)[0])
        position += 8 + (size + align - 1 & ~(align - 1))
    return None

"""What differs between processor architectures, as one table.

Sources: names and numbers of machines from pyelftools' enumerations (glibc elf.h); relocation numbers from the
processor supplements (x86-64, i386, AArch64, Arm, Power ELFv2, s390x, RISC-V psABI); the default stack permissions from
glibc `sysdeps/*/stackinfo.h` (`DEFAULT_STACK_PERMS`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

EM_386, EM_MIPS, EM_PPC, EM_PPC64, EM_S390, EM_ARM, EM_X86_64, EM_AARCH64 = 3, 8, 20, 21, 22, 40, 62, 183
EM_RISCV, EM_LOONGARCH, EM_ALPHA = 243, 258, 0x9026


@dataclass(frozen=True, slots=True)
class Machine:
    """One architecture.

    Parameters
    ----------
    name: as people call it: "x86-64", "aarch64", "ppc64le" ...
    number: e_machine.
    executable_stack_by_default: what a missing PT_GNU_STACK means to glibc; None where that is not known.
    jump_slot, glob_dat: the relocation types of a PLT slot and of a GOT entry; None where unknown or not used.
    call_types: the relocation types that an object file uses for a direct call and for nothing else.
    """

    name: str
    number: int
    executable_stack_by_default: bool | None = None
    jump_slot: int | None = None
    glob_dat: int | None = None
    call_types: frozenset[int] = frozenset()

    @property
    def is_x86(self) -> bool:
        return self.number in (EM_386, EM_X86_64)


# number -> (name by class and byte order, default stack permission, JUMP_SLOT, GLOB_DAT, call relocations)
_TABLE: dict[int, tuple[dict[tuple[int, str], str], bool | None, int | None, int | None, frozenset[int]]] = {
    EM_X86_64: ({(64, "little"): "x86-64", (32, "little"): "x32"}, True, 7, 6, frozenset({4})),
    EM_386: ({(32, "little"): "i386"}, True, 7, 6, frozenset({4})),
    EM_AARCH64: (
        {(64, "little"): "aarch64", (64, "big"): "aarch64_be", (32, "little"): "aarch64_ilp32"},
        False,
        1026,
        1025,
        frozenset({282, 283}),
    ),
    EM_ARM: ({(32, "little"): "arm", (32, "big"): "armeb"}, True, 22, 21, frozenset({10, 27, 28, 29, 30})),
    EM_PPC64: ({(64, "little"): "ppc64le", (64, "big"): "ppc64"}, False, 21, 20, frozenset({10, 116})),
    EM_PPC: ({(32, "big"): "ppc", (32, "little"): "ppcle"}, True, 21, 20, frozenset({10, 18})),
    EM_S390: ({(64, "big"): "s390x", (32, "big"): "s390"}, True, 11, 10, frozenset({20})),
    EM_RISCV: ({(64, "little"): "riscv64", (32, "little"): "riscv32"}, False, 5, None, frozenset({18, 19})),
    EM_MIPS: (
        {(32, "big"): "mips", (32, "little"): "mipsel", (64, "big"): "mips64", (64, "little"): "mips64el"},
        True,
        127,
        None,
        frozenset(),
    ),
    EM_LOONGARCH: ({(64, "little"): "loongarch64", (32, "little"): "loongarch32"}, False, 5, None, frozenset({66})),
}


#: The names of the machines in the table, as reports show them.
KNOWN_MACHINES = tuple(name for row in _TABLE.values() for name in row[0].values())


@cache
def machine_names() -> frozenset[str]:
    """The names of all machines that ELF has a number for."""
    from elftools.elf.enums import ENUM_E_MACHINE

    return frozenset((*KNOWN_MACHINES, *map(_shown, ENUM_E_MACHINE)))


@cache
def machine_of(number: int, bits: Literal[32, 64], order: Literal["little", "big"]) -> Machine:
    """The machine of an `e_machine` number in a file of the given class and byte order; never fails."""
    row = _TABLE.get(number)
    if row is None:
        return Machine(_library_name(number), number)
    names, stack, jump_slot, glob_dat, calls = row
    name = names.get((bits, order)) or f"{next(iter(names.values()))}-{bits}-{order}-endian"
    return Machine(name, number, stack, jump_slot, glob_dat, calls)


def _library_name(number: int) -> str:
    from elftools.elf.enums import ENUM_E_MACHINE

    for name, value in ENUM_E_MACHINE.items():
        if value == number:
            return _shown(name)
    return f"machine-{number}"


def _shown(name: str) -> str:
    return str(name).removeprefix("EM_").lower().replace("_", "-")

"""Position independence of an object file, from the relocations it leaves to the linker.

Three classes of relocation decide; all others (GOT, PLT, TLS through the GOT, branches) fit any output:

- *absolute code*: the full or partial address is an immediate of an instruction, or is narrower than a pointer. No
  shared library and no PIE can be linked from it, or only with text relocations.
- *absolute word*: a pointer-sized address. Harmless in writable sections (the loader fills it in), a text relocation in
  sections that are not writable.
- *direct*: an address relative to the instruction or the TOC, or a thread pointer offset known at link time. It
  fits a PIE, and a shared library only when the symbol cannot be preempted (local, hidden, protected, internal).

Numbers and names: the processor supplements of the psABI (x86-64, i386, AArch64 "ELF for the Arm 64-bit Architecture",
"ELF for the Arm Architecture", Power ELFv2, s390x, RISC-V); how GNU ld treats them: bfd/elfxx-x86.c, elfnn-aarch64.c,
elf32-arm.c, elf64-ppc.c, elf64-s390.c, elfnn-riscv.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from . import layout as elf
from .facts import ObjectRelocations, Reference, Section
from .image import Image
from .layout import RawSymbol
from .machines import EM_386, EM_AARCH64, EM_ARM, EM_PPC64, EM_RISCV, EM_S390, EM_X86_64, Machine
from .relocations import Relocation, object_relocations_by_section
from .symbols import FunctionIndex, SymbolTable, symbol_section

__all__ = ["object_relocations"]

_MOST_SHOWN = 16
# names that the linker defines inside the output: never preempted
_LINKER_DEFINED = frozenset(("_GLOBAL_OFFSET_TABLE_", "_DYNAMIC", "__ehdr_start", "__dso_handle", ".TOC.", "_gp_disp"))


@dataclass(frozen=True, slots=True)
class _Rules:
    absolute_code: dict[int, str]
    absolute_word: dict[int, str]
    direct: dict[int, str]
    local_exec: dict[int, str]
    known: int  # the highest number of the supplement; dynamic-only types above 1023 of AArch64 do not occur


def _names(prefix: str, text: str) -> dict[int, str]:
    """`"10:32 11:32S"` as {10: "R_..._32", ...}."""
    pairs = (item.split(":") for item in text.split())
    return {int(number): f"R_{prefix}_{name}" for number, name in pairs}


_RULES = {
    EM_X86_64: _Rules(
        absolute_code=_names("X86_64", "10:32 11:32S 12:16 14:8"),
        absolute_word=_names("X86_64", "1:64"),
        direct=_names("X86_64", "2:PC32 13:PC16 15:PC8 24:PC64 25:GOTOFF64"),
        local_exec=_names("X86_64", "18:TPOFF64 23:TPOFF32"),
        known=42,
    ),
    EM_386: _Rules(
        # TLS_IE holds the absolute address of a GOT entry; TLS_GOTIE is its position-independent form
        absolute_code=_names("386", "15:TLS_IE 20:16 22:8"),
        absolute_word=_names("386", "1:32"),
        direct=_names("386", "2:PC32 9:GOTOFF 21:PC16 23:PC8"),
        local_exec=_names("386", "17:TLS_LE 34:TLS_LE_32"),
        known=43,
    ),
    EM_AARCH64: _Rules(
        absolute_code=_names(
            "AARCH64",
            "258:ABS32 259:ABS16 263:MOVW_UABS_G0 264:MOVW_UABS_G0_NC 265:MOVW_UABS_G1 266:MOVW_UABS_G1_NC "
            "267:MOVW_UABS_G2 268:MOVW_UABS_G2_NC 269:MOVW_UABS_G3 270:MOVW_SABS_G0 271:MOVW_SABS_G1 272:MOVW_SABS_G2",
        ),
        absolute_word=_names("AARCH64", "257:ABS64"),
        direct=_names(
            "AARCH64",
            "260:PREL64 261:PREL32 262:PREL16 273:LD_PREL_LO19 274:ADR_PREL_LO21 275:ADR_PREL_PG_HI21 "
            "276:ADR_PREL_PG_HI21_NC",
        ),
        local_exec=dict.fromkeys(range(544, 560), "R_AARCH64_TLSLE"),
        known=1023,
    ),
    EM_ARM: _Rules(
        absolute_code=_names(
            "ARM",
            "5:ABS16 6:ABS12 8:ABS8 43:MOVW_ABS_NC 44:MOVT_ABS 47:THM_MOVW_ABS_NC 48:THM_MOVT_ABS 84:THM_ALU_ABS_G0_NC",
        ),
        # TARGET1 is ABS32 on Linux (aaelf32, "platform-specific")
        absolute_word=_names("ARM", "2:ABS32 38:TARGET1"),
        direct=_names("ARM", "3:REL32 24:GOTOFF32 45:MOVW_PREL_NC 46:MOVT_PREL 49:THM_MOVW_PREL_NC 50:THM_MOVT_PREL"),
        local_exec=_names("ARM", "108:TLS_LE32 110:TLS_LE12"),
        known=255,
    ),
    EM_PPC64: _Rules(
        absolute_code=_names(
            "PPC64",
            "1:ADDR32 2:ADDR24 3:ADDR16 4:ADDR16_LO 5:ADDR16_HI 6:ADDR16_HA 39:ADDR16_HIGHER 40:ADDR16_HIGHERA "
            "41:ADDR16_HIGHEST 42:ADDR16_HIGHESTA 56:ADDR16_DS 57:ADDR16_LO_DS",
        ),
        absolute_word=_names("PPC64", "38:ADDR64 43:UADDR64"),
        direct=_names(
            "PPC64",
            "26:REL32 44:REL64 47:TOC16 48:TOC16_LO 49:TOC16_HI 50:TOC16_HA 63:TOC16_DS 64:TOC16_LO_DS 132:PCREL34 "
            "249:REL16 250:REL16_LO 251:REL16_HI 252:REL16_HA",
        ),
        local_exec=_names(
            "PPC64", "69:TPREL16 70:TPREL16_LO 71:TPREL16_HI 72:TPREL16_HA 95:TPREL16_DS 96:TPREL16_LO_DS"
        ),
        known=255,
    ),
    EM_S390: _Rules(
        absolute_code=_names("390", "1:8 2:12 3:16 4:32 57:20"),
        absolute_word=_names("390", "22:64"),
        direct=_names("390", "5:PC32 16:PC16 17:PC16DBL 19:PC32DBL 23:PC64 27:GOTOFF64 62:PC12DBL 64:PC24DBL"),
        local_exec=_names("390", "50:TLS_LE32 51:TLS_LE64"),
        known=66,
    ),
    EM_RISCV: _Rules(
        absolute_code=_names("RISCV", "26:HI20 27:LO12_I 28:LO12_S"),
        absolute_word=_names("RISCV", "2:64"),
        direct=_names("RISCV", "23:PCREL_HI20 57:32_PCREL"),
        local_exec=_names("RISCV", "29:TPREL_HI20 30:TPREL_LO12_I 31:TPREL_LO12_S"),
        known=255,
    ),
}


@cache
def _rules(machine: Machine, bits: int) -> _Rules | None:
    rules = _RULES.get(machine.number)
    if rules is None or bits == 64 or machine.number in (EM_386, EM_ARM):
        return rules
    if machine.number == EM_X86_64:  # x32: a pointer has 32 bits
        code = {number: name for number, name in rules.absolute_code.items() if number != 10}
        return _Rules(code, {1: "R_X86_64_64", 10: "R_X86_64_32"}, rules.direct, rules.local_exec, rules.known)
    return None  # ILP32 variants of the others number their types differently


def object_relocations(image: Image, machine: Machine) -> ObjectRelocations | None:
    """What an object's relocations decide; None where there is no table for the machine."""
    rules = _rules(machine, image.layout.bits)
    if rules is None:
        return None
    table = symbol_section(image)
    dependent: list[Reference] = []
    executable_only: list[Reference] = []
    undecided: set[str] = set()
    count = 0
    for section, relocations in object_relocations_by_section(image):
        if not section.allocated:
            continue
        for relocation in relocations:
            count += 1
            if relocation.type > rules.known:
                undecided.add(str(relocation.type))
                continue
            name, target = _decide(rules, section, relocation, table, dependent, executable_only)
            if target is not None and len(target) < _MOST_SHOWN:
                target.append(_reference(image, section, relocation, name, table))
    return ObjectRelocations(tuple(dependent), tuple(executable_only), count, tuple(sorted(undecided)))


def _decide(
    rules: _Rules,
    section: Section,
    relocation: Relocation,
    table: SymbolTable,
    dependent: list[Reference],
    executable_only: list[Reference],
) -> tuple[str, list[Reference] | None]:
    kind = relocation.type
    if kind in rules.absolute_code:
        return rules.absolute_code[kind], dependent
    if kind in rules.absolute_word:
        return rules.absolute_word[kind], None if section.writable else dependent
    if kind in rules.local_exec:
        return rules.local_exec[kind], executable_only
    if kind in rules.direct:
        symbol = table[relocation.symbol]
        if not _preemptible(symbol, table):
            return rules.direct[kind], None
        # i386 calls go through the PLT only with R_386_PLT32: this one becomes a text relocation even in a PIE
        outside = rules is _RULES[EM_386] and symbol.shndx == elf.SHN_UNDEF
        return rules.direct[kind], dependent if outside else executable_only
    return "", None


def _preemptible(symbol: RawSymbol, table: SymbolTable) -> bool:
    """Whether another file may define the symbol instead: global and of default visibility (gABI)."""
    if symbol.info >> 4 == elf.STB_LOCAL or symbol.other & 3 != elf.STV_DEFAULT:
        return False
    name = table.name(symbol)
    return name not in _LINKER_DEFINED and not name.startswith(("__start_", "__stop_"))


def _reference(image: Image, section: Section, relocation: Relocation, name: str, table: SymbolTable) -> Reference:
    symbol = table[relocation.symbol] if relocation.symbol < len(table) else None
    target = table.name(symbol) if symbol is not None else ""
    if symbol is not None and symbol.info & 15 == elf.STT_SECTION and symbol.shndx < len(image.sections):
        target = image.sections[symbol.shndx].name
    functions = FunctionIndex(table, section=image.sections.index(section))
    return Reference(name, target, section.name, relocation.offset, functions.name_at(relocation.offset))

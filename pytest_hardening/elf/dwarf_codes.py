"""Numbers of DWARF: tags, attributes and forms.

Source: DWARF Debugging Information Format, version 5, section 7.5; GNU's and LLVM's own ones from GCC's
include/dwarf2.def.
"""

from __future__ import annotations

DW_TAG_ARRAY_TYPE, DW_TAG_CLASS_TYPE, DW_TAG_STRUCTURE_TYPE, DW_TAG_UNION_TYPE = 0x01, 0x02, 0x13, 0x17
DW_TAG_COMPILE_UNIT, DW_TAG_PARTIAL_UNIT, DW_TAG_SKELETON_UNIT = 0x11, 0x3C, 0x4A
DW_TAG_MEMBER, DW_TAG_INHERITANCE, DW_TAG_SUBRANGE_TYPE, DW_TAG_BASE_TYPE = 0x0D, 0x1C, 0x21, 0x24
DW_TAG_INLINED_SUBROUTINE, DW_TAG_SUBPROGRAM, DW_TAG_VARIABLE = 0x1D, 0x2E, 0x34
#: enumeration, subroutine type, array type, call site (twice): nothing below them is a function or a variable
LISTS = frozenset((0x04, 0x15, DW_TAG_ARRAY_TYPE, 0x48, 0x4109))
#: typedef, const, volatile, restrict, packed, shared, atomic, immutable: the same object under another name
QUALIFIERS = frozenset((0x16, 0x26, 0x35, 0x37, 0x2D, 0x40, 0x47, 0x4B))

DW_AT_SIBLING, DW_AT_LOCATION, DW_AT_NAME, DW_AT_BYTE_SIZE, DW_AT_LOW_PC, DW_AT_HIGH_PC = 1, 2, 3, 0xB, 0x11, 0x12
DW_AT_LANGUAGE, DW_AT_COMP_DIR, DW_AT_LOWER_BOUND, DW_AT_PRODUCER, DW_AT_UPPER_BOUND = 0x13, 0x1B, 0x22, 0x25, 0x2F
DW_AT_ABSTRACT_ORIGIN, DW_AT_COUNT, DW_AT_ENCODING, DW_AT_EXTERNAL = 0x31, 0x37, 0x3E, 0x3F
DW_AT_SPECIFICATION, DW_AT_TYPE = 0x47, 0x49
DW_AT_RANGES, DW_AT_STR_OFFSETS_BASE, DW_AT_ADDR_BASE, DW_AT_RNGLISTS_BASE = 0x55, 0x72, 0x73, 0x74
DW_AT_LANGUAGE_NAME = 0x90
DW_AT_DWO_NAME, DW_AT_GNU_VECTOR, DW_AT_GNU_DWO_NAME, DW_AT_APPLE_FLAGS = 0x76, 0x2107, 0x2130, 0x3FE2
DW_AT_GNU_RANGES_BASE, DW_AT_GNU_ADDR_BASE = 0x2132, 0x2133

#: the attributes that are read; others are passed over
USED = frozenset((
    DW_AT_LOCATION, DW_AT_NAME, DW_AT_BYTE_SIZE, DW_AT_LOW_PC, DW_AT_HIGH_PC, DW_AT_LANGUAGE, DW_AT_LANGUAGE_NAME,
    DW_AT_COMP_DIR, DW_AT_LOWER_BOUND, DW_AT_PRODUCER, DW_AT_UPPER_BOUND, DW_AT_ABSTRACT_ORIGIN, DW_AT_COUNT,
    DW_AT_ENCODING, DW_AT_EXTERNAL, DW_AT_SPECIFICATION, DW_AT_TYPE, DW_AT_RANGES, DW_AT_STR_OFFSETS_BASE,
    DW_AT_ADDR_BASE, DW_AT_RNGLISTS_BASE, DW_AT_DWO_NAME, DW_AT_GNU_VECTOR, DW_AT_GNU_DWO_NAME, DW_AT_APPLE_FLAGS,
    DW_AT_GNU_RANGES_BASE, DW_AT_GNU_ADDR_BASE,
))  # fmt: skip

DW_FORM_ADDR, DW_FORM_BLOCK2, DW_FORM_BLOCK4, DW_FORM_STRING, DW_FORM_BLOCK1 = 0x01, 0x03, 0x04, 0x08, 0x0A
DW_FORM_SDATA, DW_FORM_STRP, DW_FORM_REF_ADDR, DW_FORM_INDIRECT, DW_FORM_SEC_OFFSET = 0x0D, 0x0E, 0x10, 0x16, 0x17
DW_FORM_EXPRLOC, DW_FORM_LINE_STRP, DW_FORM_IMPLICIT_CONST, DW_FORM_RNGLISTX = 0x18, 0x1F, 0x21, 0x23
#: blocks of bytes and expressions; their length comes first, mostly as LEB128
BLOCKS = frozenset((DW_FORM_BLOCK2, DW_FORM_BLOCK4, 0x09, DW_FORM_BLOCK1, DW_FORM_EXPRLOC))
#: strings and addresses by index; the first ones and GNU's are LEB128
STRING_INDEXES = frozenset((0x1A, 0x25, 0x26, 0x27, 0x28, 0x1F02))
ADDRESS_INDEXES = frozenset((0x1B, 0x29, 0x2A, 0x2B, 0x2C, 0x1F01))
CONSTANTS = frozenset((0x05, 0x06, 0x07, 0x0B, DW_FORM_SDATA, 0x0F, DW_FORM_IMPLICIT_CONST))
#: offsets from the unit's start
UNIT_REFERENCES = frozenset((0x11, 0x12, 0x13, 0x14, 0x15))
#: LEB128 numbers
NUMBERS = frozenset((DW_FORM_SDATA, 0x0F, 0x15, 0x1A, 0x1B, 0x22, DW_FORM_RNGLISTX, 0x1F01, 0x1F02))
#: as wide as an offset: 4 bytes, 8 in 64-bit DWARF. The last three lead into another file
OFFSETS = frozenset((DW_FORM_STRP, DW_FORM_SEC_OFFSET, DW_FORM_LINE_STRP, 0x1D, 0x1F20, 0x1F21))
#: into a file that dwz made of what several share
SHARED_STRINGS = frozenset((0x1D, 0x1F21))
#: bytes of the forms of fixed size
FIXED_SIZES = {
    0x05: 2, 0x06: 4, 0x07: 8, 0x0B: 1, 0x0C: 1, 0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8, 0x19: 0, 0x1C: 4, 0x1E: 16,
    0x20: 8, 0x21: 0, 0x24: 8, 0x25: 1, 0x26: 2, 0x27: 3, 0x28: 4, 0x29: 1, 0x2A: 2, 0x2B: 3, 0x2C: 4,
}  # fmt: skip

DW_UT_TYPE, DW_UT_SKELETON, DW_UT_SPLIT_COMPILE, DW_UT_SPLIT_TYPE = 2, 4, 5, 6

DW_OP_DEREF, DW_OP_FBREG = 0x06, 0x91

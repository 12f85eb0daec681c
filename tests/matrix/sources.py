"""The eight units of the matrix's programs and libraries: realistic, small, and no two alike.

A and B go into AB.a, C and D are linked beside it into libSHARED.so; E and F go into EF.a, G (with main) and H are
linked beside it into PROGRAM. Every unit has functions of the roles below; what a mitigation has to do in a unit
follows from them, so the truth needs no look at the binary.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["UNITS", "Unit", "assembly", "source"]


class Unit(NamedTuple):
    """A unit of the project: its letter, the word its functions begin with, and the unit that its `run` calls."""

    letter: str
    word: str
    calls: tuple[str, ...] = ()

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions of the unit for which a mitigation has something to do."""
        roles = ("copy", "read", "format", "report", "scratch", "heap", "name", "sum", "run")
        return tuple(f"{self.word}_{role}" for role in roles)


UNITS = {
    unit.letter: unit
    for unit in (
        Unit("A", "packet"),
        Unit("B", "header"),
        Unit("C", "codec", ("packet",)),
        Unit("D", "queue", ("header",)),
        Unit("E", "session"),
        Unit("F", "stream"),
        Unit("G", "server", ("session", "stream", "log")),
        Unit("H", "log"),
    )
}

_HEAD = """\
/* {word}: unit {letter} of the project. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Link-time optimisation may mix the bodies of units only where it inlines. */
#define APART __attribute__((noinline))

unsigned {word}_count;
"""

# An array on the stack and a copy of unknown length into it: a canary, and a call that FORTIFY checks from level 1 on.
_COPY = (
    """\
APART int {word}_copy(const char *text)
{{
    char name[{size}];

    strcpy(name, text);
    {word}_count++;
    return (int)strlen(name) + name[0];
}}
""",
    """\
APART int {word}_copy(const char *text)
{{
    char line[{size}] = "{word}: ";

    strcat(line, text);
    return line[{word}_count++ % 4] == ':' ? 0 : (int)strlen(line);
}}
""",
    """\
APART int {word}_copy(const char *text)
{{
    char label[{size}];
    int length = sprintf(label, "%s-%u", text, {word}_count);

    return length > 3 ? label[length - 3] : -1;
}}
""",
)

# Input of a size that the compiler does not know, into an array on the stack.
_READ = (
    """\
APART long {word}_read(int descriptor, unsigned long size)
{{
    char block[{size}];
    long got = read(descriptor, block, size);

    return got > 1 ? block[got / 2] : got;
}}
""",
    """\
APART long {word}_read(int size, FILE *stream)
{{
    char line[{size}];

    if (fgets(line, size, stream) == NULL)
        return -1;
    return (long)strlen(line) - (line[0] == '#');
}}
""",
    """\
APART long {word}_read(const char *path, unsigned long size)
{{
    char target[{size}];
    long got = readlink(path, target, size);

    return got > 0 && target[0] == '/' ? got : 0;
}}
""",
)
_READ_CALL = (
    "{word}_read(0, (unsigned long)count)",
    "{word}_read(count, stdin)",
    "{word}_read(text, (unsigned long)count)",
)

_FORMAT = (
    """\
APART unsigned long {word}_format(const char *key, int value)
{{
    char entry[{size}];

    snprintf(entry, sizeof entry, "%s=%d;", key, value);
    return strlen(entry) + strcspn(entry, "=");
}}
""",
    """\
APART unsigned long {word}_format(const char *form, ...)
{{
    char entry[{size}];
    va_list rest;

    va_start(rest, form);
    vsnprintf(entry, sizeof entry, form, rest);
    va_end(rest);
    return strlen(entry) ^ {word}_count;
}}
""",
)
_FORMAT_CALL = ("{word}_format(text, count)", '{word}_format("%s %d", text, count)')

# No array, and formatted output that only level 2 and above replace.
_REPORT = (
    """\
APART void {word}_report(const char *what, int count)
{{
    printf("%s: %d {word} items\\n", what, count);
}}
""",
    """\
APART void {word}_report(const char *what, int count)
{{
    fprintf(stderr, "{word} %d, last %s\\n", count, what);
}}
""",
    """\
APART void {word}_report(const char *what, int count)
{{
    while (count-- > 0)
        printf("[%2d] %s of {word}\\n", count, what);
}}
""",
)

# A frame of more than two pages of the largest usual page size: a stack clash.
_SCRATCH = """\
APART int {word}_scratch(int value, unsigned long used)
{{
    char page[{large}];

    memset(page, value, sizeof page);
    page[used % sizeof page] = 0;
    return (int)strnlen(page, sizeof page - 1);
}}
"""

# An object whose size is known only while the program runs: level 3 alone checks the copy.
_HEAP = (
    """\
APART unsigned long {word}_heap(const char *text, unsigned long size)
{{
    char *copy = (char *)malloc(size + {size});
    unsigned long length = 0;

    if (copy != NULL) {{
        strcpy(copy, text);
        length = strlen(copy);
    }}
    free(copy);
    return length;
}}
""",
    """\
APART unsigned long {word}_heap(const char *text, unsigned long size)
{{
    char *both = (char *)malloc(size + {size});
    unsigned long length = 0;

    if (both != NULL) {{
        strcpy(both, text);
        strcat(both, "{word}");
        length = strlen(both) + (unsigned char)both[0];
    }}
    free(both);
    return length;
}}
""",
)

# Nothing that a mitigation of the code could do: no array, no call; and pointers in read-only data, which need PIC.
_PLAIN = (
    """\
static const char *const {word}_names[] = {{"{word} idle", "{word} open", "{word} closed", "{word} lost"}};

APART const char *{word}_name(unsigned state)
{{
    return state < 4 ? {word}_names[state] : "{word}";
}}

APART unsigned {word}_sum(const unsigned char *data, unsigned long size)
{{
    unsigned sum = {large};

    while (size-- != 0)
        sum = sum * 31 + *data++;
    return sum;
}}
""",
    """\
static const char *const {word}_names[] = {{"none", "first of {word}", "last of {word}"}};

APART const char *{word}_name(unsigned state)
{{
    return {word}_names[(state ^ {word}_count) % 3];
}}

APART unsigned {word}_sum(const unsigned char *data, unsigned long size)
{{
    unsigned low = 1, high = 0;
    unsigned long at;

    for (at = 0; at < size; at++) {{
        low = (low + data[at]) % 65521;
        high = (high + low) % 65521;
    }}
    return high << 16 | low;
}}
""",
)

# libstdc++'s assertions: an index that only the running program knows, into a container.
_CONTAINER_HEAD = "#include <array>\n"
_CONTAINER = """\
std::array<int, {size}> {word}_values;

APART int {word}_value(unsigned index)
{{
    return {word}_values[index];
}}
"""

_RUN = """\
{declarations}{linkage}int {name}(int count, char **words)
{{
    const char *text = words[count - 1];
    long total = {word}_copy(text) + {read} + (long){format};

    {word}_report({word}_name((unsigned)count), count);
    total += {word}_scratch(count, strlen(text)) + (long){word}_heap(text, (unsigned long)count);
    total += {word}_sum((const unsigned char *)text, strlen(text)){value};
    return (int)(total{calls});
}}
"""

_ASSEMBLY_CODE = """\
    .text
    .globl {name}
    .type {name}, %function
{name}:
    .long 0
    .size {name}, .-{name}
"""


def source(unit: Unit, cplusplus: bool = False) -> str:
    """The text of a unit."""
    number = ord(unit.letter) - ord("A")
    read, form = number % 3, number % 2
    words = {"word": unit.word, "letter": unit.letter, "size": 40 + 8 * number, "large": 9216 * 16 + 512 * number}
    run = _RUN.format(
        **words,
        name="main" if unit.letter == "G" else f"{unit.word}_run",
        linkage="",
        declarations="".join(f"int {word}_run(int count, char **words);\n" for word in unit.calls),
        read=_READ_CALL[read].format(**words),
        format=_FORMAT_CALL[form].format(**words),
        value=f" + {unit.word}_value((unsigned)count)" if cplusplus else "",
        calls="".join(f" + {word}_run(count, words)" for word in unit.calls),
    )
    parts = [_HEAD, _COPY[number % 3], _READ[read], _FORMAT[form], _REPORT[(number + 1) % 3], _SCRATCH]
    parts += [_HEAP[number % 2], _PLAIN[(number + 1) % 2]]
    if cplusplus:
        parts = [_CONTAINER_HEAD, *parts, _CONTAINER]
    return "\n".join((*(part.format(**words) for part in parts), run))


def assembly(name: str, note: bool, writable: bool = False) -> str:
    """A unit of assembly with a function that nothing calls.

    Parameters
    ----------
    note: whether it has the section .note.GNU-stack, which says that its code needs no executable stack.
    writable: whether its section is both writable and executable.
    """
    text = _ASSEMBLY_CODE.format(name=name)
    if writable:
        text = text.replace(".text", f'.section .{name},"awx",%progbits')
    return text + ('    .section .note.GNU-stack,"",%progbits\n' if note else "")

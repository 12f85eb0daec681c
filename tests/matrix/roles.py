"""Units that do one thing each, so that nothing else in a unit tells how it was compiled."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["HEAD", "MAIN", "ROLES", "Role"]


class Role(NamedTuple):
    """One unit.

    Parameters
    ----------
    text: its source, without `HEAD`; it defines `role_run`, which takes what main() takes.
    functions: those for which a mitigation has something to do.
    checks: the mitigations that the unit is built without, one at a time.
    """

    text: str
    functions: tuple[str, ...]
    checks: tuple[str, ...] = ("stack-protector", "fortify")


HEAD: Final = """\
#define _GNU_SOURCE
#include <alloca.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define APART __attribute__((noinline))
struct pair { long first, second; };
struct large { long words[40]; };
int sink_text(char *text, int size);
int sink_number(int *number);
long sink_value(long value);
struct large sink_large(int seed);
"""

#: The unit with main(): one of every mitigation, and what the roles call, for which a mitigation has nothing to do.
MAIN: Final = """\
int role_run(int count, char **words);
volatile long sink_total;
struct large sink_from;
int sink_text(char *text, int size) { text[size / 2] = (char)size; sink_total += text[0]; return (int)sink_total; }
int sink_number(int *number) { *number += 1; return *number; }
long sink_value(long value) { sink_total ^= value; return sink_total; }
struct large sink_large(int seed) { sink_from.words[seed & 31] = seed; return sink_from; }
APART int main_line(const char *text, int count)
{
    char line[9000];

    sprintf(line, "%s %d", text, count);
    return printf("%s\\n", line + count) + (int)strlen(line);
}

int main(int count, char **words) { return main_line(words[0], count) + role_run(count, words); }
"""

_ONE = """\
APART int {name}_work(int count, char **words)
{{
    {body}
}}

int role_run(int count, char **words)
{{
    return {name}_work(count, words) + count;
}}
"""


def _one(name: str, *lines: str, checks: tuple[str, ...] = ("stack-protector", "fortify")) -> tuple[str, Role]:
    """A role of one function."""
    return name, Role(_ONE.format(name=name, body="\n    ".join(lines)), (f"{name}_work",), checks)


def _role(name: str, text: str, *functions: str, checks: tuple[str, ...] = ("stack-protector",)) -> tuple[str, Role]:
    return name, Role(text, functions, checks)


_SSP = ("stack-protector",)
_FORTIFY = ("fortify",)
_CLASH = ("stack-clash",)

#: By name.
ROLES: Final = dict((
    # ---- one call that FORTIFY replaces
    _one("sprint", "char text[64];", 'sprintf(text, "%s-%d", words[0], count);', "return text[count & 63];"),
    _one("snprint", "char text[64];", 'snprintf(text, sizeof text, "%s-%d", words[0], count);',
         "return text[count & 63];"),
    _one("report", 'return printf("%s: %d\\n", words[0], count);', checks=_FORTIFY),
    _one("tail", 'return fprintf(stderr, "%d %s\\n", count, words[0]);', checks=_FORTIFY),
    _one("global_text", "static char text[64];", 'sprintf(text, "%s-%d", words[0], count);',
         "return text[count & 63];", checks=_FORTIFY),
    _role("tail_copy", """\
static char tail_copy_text[64];
APART char *tail_copy_work(char **words) { return strcpy(tail_copy_text, words[0]); }
int role_run(int count, char **words) { return tail_copy_work(words)[count & 63]; }
""", "tail_copy_work", checks=_FORTIFY),
    _role("tail_memory", """\
static char tail_memory_text[64];
APART void *tail_memory_work(int count, char **words)
{
    return memcpy(tail_memory_text, words[0], (unsigned)count);
}

int role_run(int count, char **words) { return tail_memory_work(count, words) != words[0]; }
""", "tail_memory_work", checks=_FORTIFY),
    _role("unlikely", """\
static char unlikely_text[64];
APART int unlikely_work(int count, char **words)
{
    if (__builtin_expect(count > 40, 0)) {
        memcpy(unlikely_text, words[0], (unsigned)count * 2);
        fputs(unlikely_text, stderr);
        abort();
    }
    return words[0][0] + count;
}

int role_run(int count, char **words) { return unlikely_work(count, words); }
""", "unlikely_work", checks=_FORTIFY),
    _one("fill", "char text[64];", "memset(text, count, (unsigned)count);", "return text[count & 63];"),
    _one("memory", "char text[64];", "memcpy(text, words[0], (unsigned)count);", "return text[count & 63];"),
    _one("copied", "char text[64];", "strcpy(text, words[0]);", "return text[count & 63];"),
    _one("append", "char text[64] = \"\";", "strncat(text, words[0], (unsigned)count);", "return text[count & 63];"),
    _one("input", "char text[64];", "return (int)read(0, text, (unsigned)count) + text[count & 63];"),
    _one("line", "char text[64];", "return fgets(text, count, stdin) ? text[count & 63] : 0;"),
    _one("folder", "char text[64];", "return getcwd(text, (unsigned)count) ? text[count & 63] : 0;"),
    _one("target", "char text[64];", "return (int)readlink(words[0], text, (unsigned)count) + text[count & 63];"),
    # ---- the stack, each in one way
    _one("sized", "char text[count];", "return sink_text(text, count) + text[count / 3];",
         checks=("stack-protector", "stack-clash")),
    _one("given", "char *text = (char *)alloca((unsigned)count);", "return sink_text(text, count);",
         checks=("stack-protector", "stack-clash")),
    _one("address", "int number = count;", "sink_number(&number);", "return number * 2;", checks=_SSP),
    _one("tiny", "char text[4];", "return sink_text(text, 4) + text[3];", checks=_SSP),
    _one("seven", "char text[7];", "return sink_text(text, 7) + text[6];", checks=_SSP),
    _one("eight", "char text[8];", "return sink_text(text, 8) + text[7];", checks=_SSP),
    _one("integers", "int list[16];", "return sink_text((char *)list, 16) + list[3];", checks=_SSP),
    _one("leaf", "char text[64];", "int at, sum = 0;",
         "for (at = 0; at < count; at++) text[at] = (char)(words[0][at] ^ count);",
         "for (at = 0; at < count; at++) sum += text[at ^ 1];", "return sum;", checks=_SSP),
    _one("member", "struct { int size; char text[24]; } box;", "box.size = count;",
         "return sink_text(box.text, box.size) + box.size;", checks=_SSP),
    _role("value", """\
struct box { char text[120]; };
APART int value_use(struct box box)
{
    return sink_text(box.text, 120) + box.text[5];
}

APART int value_work(int count, char **words)
{
    static struct box box;

    return value_use(box) + count + words[0][0];
}

int role_run(int count, char **words) { return value_work(count, words) * 2; }
""", "value_use", "value_work"),
    _one("returned", "struct large got = sink_large(count);", "return (int)got.words[count & 31];", checks=_SSP),
    _one("returned_some", "return (int)sink_large(count).words[3];", checks=_SSP),
    _role("starts", """\
static int starts_count;
__attribute__((constructor)) static void starts_begin(void)
{
    char text[32];

    starts_count += sink_text(text, 32);
}

__attribute__((destructor)) static void starts_end(void)
{
    char text[48];

    starts_count -= sink_text(text, 48);
}

int role_run(int count, char **words) { return starts_count + count + words[0][0]; }
""", "starts_begin", "starts_end"),
    _role("cold", """\
__attribute__((cold)) APART int cold_work(int count, char **words)
{
    char text[32];

    return sink_text(text, count) + words[0][0];
}

int role_run(int count, char **words) { return count > 3 ? cold_work(count, words) : 0; }
""", "cold_work"),
    _role("hot", """\
__attribute__((hot)) APART int hot_work(int count, char **words)
{
    char text[32];

    return sink_text(text, count) + words[0][0];
}

int role_run(int count, char **words) { return count > 3 ? hot_work(count, words) : 0; }
""", "hot_work"),
    _role("placed", """\
__attribute__((section("project_code"))) APART int placed_work(int count, char **words)
{
    char text[32];

    return sink_text(text, count) + words[0][0];
}

int role_run(int count, char **words) { return count > 3 ? placed_work(count, words) : 0; }
""", "placed_work"),
    _role("names", """\
APART int binary_search(int count, char *text)
{
    char copy[24];

    return sink_text(copy, count) + text[0];
}

int role_run(int count, char **words) { return binary_search(count, words[0]); }
""", "binary_search"),
    _role("static_search", """\
APART static int linear_search(int count, char *text)
{
    char copy[24];

    return sink_text(copy, count) + text[0];
}

int role_run(int count, char **words) { return linear_search(count, words[0]); }
""", "linear_search"),
    _role("memcopy", """\
APART int memcopy(int count, char *text)
{
    char copy[24];

    return sink_text(copy, count) + text[0];
}

int role_run(int count, char **words) { return memcopy(count, words[0]); }
""", "memcopy"),
    _role("strings", """\
APART unsigned long strlcpy(char *to, const char *from, unsigned long size)
{
    char copy[24];

    sink_text(copy, (int)size);
    to[0] = copy[size % 24];
    return (unsigned char)from[0];
}

int role_run(int count, char **words) { return (int)strlcpy(words[0], words[1], (unsigned)count); }
""", "strlcpy"),
    _role("division", """\
APART int __divmod4(int count, char *text)
{
    char copy[24];

    return sink_text(copy, count) + text[0];
}

int role_run(int count, char **words) { return __divmod4(count, words[0]); }
""", "__divmod4"),
    _role("unwinder", """\
APART static int uw_frame_state_for(int count, char *text)
{
    char copy[24];

    return sink_text(copy, count) + text[0];
}

int role_run(int count, char **words) { return uw_frame_state_for(count, words[0]); }
""", "uw_frame_state_for"),
    _role("local", """\
APART static int local_work(int count, char *text)
{
    char copy[24];

    return sink_text(copy, count) + text[0];
}

int role_run(int count, char **words) { return local_work(count, words[0]); }
""", "local_work"),
    _role("pointed", """\
static int pointed_work(int count, char *text)
{
    char copy[24];

    return sink_text(copy, count) + text[0];
}

static int pointed_rest(int count, char *text) { return count + text[0]; }
int (*pointed_table[])(int, char *) = {pointed_work, pointed_rest};

int role_run(int count, char **words) { return pointed_table[count & 1](count, words[0]); }
""", "pointed_work"),
    _role("last", """\
__attribute__((noreturn)) APART void last_work(int count, char *text)
{
    char copy[24];

    exit(sink_text(copy, count) + text[0]);
}

int role_run(int count, char **words)
{
    if (count > 5)
        last_work(count, words[0]);
    return count;
}
""", "last_work"),
    _role("then", """\
APART long then_work(int count, char *text)
{
    char copy[24];
    long sum = sink_text(copy, count) + text[0];

    return sink_value(sum);
}

int role_run(int count, char **words) { return (int)then_work(count, words[0]); }
""", "then_work"),
    _role("moved", """\
#if defined __x86_64__
# define MOVES "sub $32, %rsp; add $32, %rsp"
#elif defined __i386__
# define MOVES "sub $32, %esp; add $32, %esp"
#elif defined __aarch64__ || defined __arm__
# define MOVES "sub sp, sp, #32; add sp, sp, #32"
#elif defined __powerpc64__
# define MOVES "addi 1, 1, -32; addi 1, 1, 32"
#elif defined __s390x__
# define MOVES "aghi %r15, -32; aghi %r15, 32"
#elif defined __riscv
# define MOVES "addi sp, sp, -32; addi sp, sp, 32"
#endif
APART int moved_work(int count, char *text)
{
    char copy[24];
    int sum = sink_text(copy, count) + text[0];

    __asm__ volatile(MOVES);
    return sum + copy[3];
}

int role_run(int count, char **words) { return moved_work(count, words[0]); }
""", "moved_work"),
    _role("jumps", """\
static jmp_buf jumps_point;
APART void jumps_work(int count) { longjmp(jumps_point, count); }
int role_run(int count, char **words)
{
    if (setjmp(jumps_point) != 0)
        return words[0][0];
    jumps_work(count);
    return 0;
}
""", "jumps_work", checks=_FORTIFY),
    # ---- large frames
    _one("page", "char text[4200];", "return sink_text(text, count) + text[7];", checks=_CLASH),
    _one("pages", "char text[8704];", "return sink_text(text, count) + text[7];", checks=_CLASH),
    _one("sixteen", "char text[67000];", "return sink_text(text, count) + text[7];", checks=_CLASH),
    _one("huge", "char text[300000];", "return sink_text(text, count) + text[7];", checks=_CLASH),
))  # fmt: skip

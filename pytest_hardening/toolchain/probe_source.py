"""The program that every toolchain is asked to compile: each function gives one mitigation something to do."""

from __future__ import annotations

__all__ = ["BAD_FORMAT", "GOOD_FORMAT", "PROBE"]

# C and C++, without a warning of any compiler. What the functions are for:
# copy, count and format need a canary, copy and format are checked by FORTIFY (format and report from level 2 on, fill
# from level 3 on), large has a frame of many pages, unset reads a local that nothing set, tail_of asks for a size that
# is known only where a trailing array is not flexible.
PROBE = """\
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define APART __attribute__((noinline))

struct record {
    int kind;
    char tail[4];
};

volatile int sink;

APART void consume(char *text)
{
    sink += text[0];
}

APART int copy(const char *text)
{
    char name[64];

    strcpy(name, text);
    consume(name);
    return name[1];
}

APART int count(int wanted)
{
    int seen[8];

    memset(seen, wanted, sizeof seen);
    consume((char *)seen);
    return seen[wanted & 7];
}

APART int format(const char *form, int value)
{
    char line[64];

    snprintf(line, sizeof line, "%s=%d", form, value);
    consume(line);
    return line[2];
}

APART void report(int value)
{
    printf("%d\\n", value);
}

APART int fill(unsigned long size, unsigned long used)
{
    char *block = (char *)malloc(size);
    int first;

    if (block == NULL)
        return 0;
    memset(block, 1, used);
    consume(block);
    first = block[0];
    free(block);
    return first;
}

APART int large(void)
{
    char block[200000];

    consume(block);
    return block[7];
}

APART int unset(int *(*keep)(int *))
{
    int value;

    return *keep(&value);
}

APART int *keep(int *value)
{
    return value;
}

APART unsigned long tail_of(struct record *one)
{
#ifdef __TINYC__
    return one->kind;
#else
    return __builtin_object_size(one->tail, 1);
#endif
}

int main(int argc, char **argv)
{
    struct record one = {1, "abc"};

    report(copy(argc > 5 ? argv[1] : "name") + count(argc) + format("n", argc) + fill(argc * 8ul, argc) + large());
    sink = unset(keep);
    return tail_of(&one) == 77;
}
"""

GOOD_FORMAT = """\
#include <stdio.h>
void tell(const char *text) { printf("%s", text); }
"""

BAD_FORMAT = """\
#include <stdio.h>
void tell(const char *text) { printf(text); }
"""

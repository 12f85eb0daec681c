"""What takes an address in its frame in a way that proves nothing is doubtful on x86, and never goes unnoticed.

The truth is in the flags: every function here needs a canary under -fstack-protector-strong.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_hardening.elf.facts import Calls, Need, StackUse
from pytest_hardening.elf.reader import ElfReader
from pytest_hardening.elf.source import Source
from pytest_hardening.fixtures import CompileC

ON, OFF = "-fstack-protector-strong", "-fno-stack-protector"

DECLARATIONS = """
#include <stdarg.h>
char *strcat(char *, const char *);
void fill(char *); int use(char *); void number(int, char *); void count(int *); void list(char *, va_list);
int seventh(int, int, int, int, int, int, char *); extern int n; extern void *kept; extern int (*pointer)(char *);
struct pair { void *one, *other; }; extern struct pair pair; struct three { int a, b, c; };
struct own { char *p; char b[40]; }; int owner(struct own *);
"""
SHAPES = {
    "late": "int f(void) { char b[64]; if (n > 3) { fill(b); return use(b); } return n; }",
    "early": "int f(int k) { char b[64]; if (k) return 3; if (n > 4) { fill(0); return 4; } use(b); return b[2]; }",
    "alloca": "int f(void) { char *b = __builtin_alloca(n); fill(b); return b[3]; }",
    "alloca_in_loop": "int f(void) { int s = 0; for (int i = 1; i < n; i++) { char b[i]; fill(b); s += *b; }"
    " return s; }",
    "variable": "int f(void) { char b[n]; fill(b); return b[3]; }",
    "seventh": "int f(void) { char b[64]; seventh(1, 2, 3, 4, 5, 6, b); return b[3]; }",
    "index": "int f(int k) { volatile struct three b[16]; b[k].b = n; fill(0); return b[n].c; }",
    "leaf": "int f(int k) { volatile char b[64]; b[k] = 1; return b[n]; }",
    "loop": "int f(void) { char b[64]; for (int i = 0; i < n; i++) fill(b); return use(b); }",
    "appends": "int f(const char *s) { char b[32] = {0}; for (int i = 0; i < 4; i++) strcat(b, i < n ? s : \"x\");"
    " return use(0) + b[n]; }",
    "walk": "int f(void) { volatile char b[64], *q = b; for (int i = 0; i < n; i++) *q++ = n; return b[3]; }",
    "global": "int f(void) { char b[64]; kept = b; fill(0); return b[3]; }",
    "two": "int f(void) { char a[64], b[64]; pair.one = a; pair.other = b; fill(0); return a[0] + b[1]; }",
    "choice": "int f(void) { char a[64], b[64]; fill(n ? a : b); return a[0] + b[3]; }",
    "scalar": "int f(void) { int x; count(&x); return x; }",
    "numbers": "int f(void) { int b[16]; count(b); return b[3]; }",
    "pointer": "int f(void) { char b[64]; return pointer(b) + b[3]; }",
    "member": "int f(void) { struct own x; x.p = x.b; x.b[0] = n; return owner(&x); }",
    "aligned": "int f(int k) { _Alignas(64) char b[64]; fill(b); return b[k]; }",
    "switch": "int f(int k) { char b[64]; switch (k) { case 0: fill(b); break; case 1: n = 2; fill(0); case 2: use(b);"
    " break; case 3: n = 7; case 4: use(b + 3); break; case 5: n = 9; fill(0); } return b[3]; }",
    "variadic": "int f(int k, ...) { va_list a; char b[64]; va_start(a, k); list(b, a); va_end(a); return b[k]; }",
}  # fmt: skip


def stack_use(path: Path) -> StackUse:
    with Source.open(path) as source, ElfReader(source, path.name) as reader:
        found = reader.extend((Need.STACK_USE,)).stack_use
        assert found is not None
        return found


def calls(path: Path) -> Calls:
    with Source.open(path) as source, ElfReader(source, path.name) as reader:
        found = reader.extend((Need.CALLS,)).calls
        assert found is not None
        return found


def functions() -> str:
    return DECLARATIONS + "\n".join(text.replace("int f(", f"int f_{name}(") for name, text in SHAPES.items())


@pytest.mark.parametrize("compiler", ["gcc", "clang", "gcc -m32", "clang -m32", "gcc -mx32"])
@pytest.mark.parametrize("level", ["-O0", "-O2", "-Os"])
def test_nothing_goes_unnoticed(build: CompileC, compiler: str, level: str) -> None:
    flags = [level, "-w"]
    off = stack_use(build({"f.c": functions()}, kind="object", flags=[*flags, OFF], compiler=compiler))
    assert (off.functions - off.unprotected_count - off.doubtful) in (0, int("32" in compiler))  # a thunk for the PC
    on = stack_use(build({"f.c": functions()}, kind="object", flags=[*flags, ON], compiler=compiler))
    assert (on.protected, on.unprotected, on.doubtful) == (len(SHAPES), (), 0)


def test_large_vectors_are_no_arrays(build: CompileC) -> None:
    """Without AVX, one of 64 bytes is kept in four parts, and indexed through copies in the frame."""
    source = """
    void none(void); typedef double wide __attribute__((vector_size(64)));
    wide element(wide a, wide b, int i) { wide c = a * b + a; none(); c[i & 7] += 1; return c; }
    """
    for compiler in ("gcc", "clang"):
        for level in ("-O0", "-O2", "-Os"):
            found = stack_use(build({"v.c": source}, kind="object", flags=[level, "-w", ON], compiler=compiler))
            assert found.unprotected == ()


def test_registers_that_are_copied_back_and_forth_cost_little(build: CompileC) -> None:
    """Each copy leads back to every other one; what the file shows besides is still found."""
    copies = "mov %r12, %rbx\nmov %rbx, %r12\njne 1f\njne 1f\n1:\n" * 2000
    code = f".globl f\n.type f, @function\nf:\n{copies}mov %rbx, %rcx\ncall __memcpy_chk@PLT\ncall printf@PLT\nret\n"
    path = build({"f.s": code + ".size f, . - f\n"}, kind="shared-library", link_flags=["-nostdlib"])
    assert {(call.callee, call.tells) for call in calls(path).found} == {("__memcpy_chk", ""), ("printf", "")}


@pytest.mark.parametrize("filling", ["nop", "sub %rax, %rsp"])
def test_huge_functions_are_not_disassembled(build: CompileC, filling: str) -> None:
    """What cannot be told of one is doubtful."""
    code = (
        f".globl f\n.type f, @function\nf:\nlea 8(%rsp), %rdi\n.rept 200000\n{filling}\n.endr\n"
        "call __memcpy_chk@PLT\n.size f, . - f\n"
    )
    path = build({"f.s": code}, kind="shared-library", link_flags=["-nostdlib"])
    found = stack_use(path)
    assert (found.doubtful, found.unclear, found.unprotected) == (1, int("sub" in filling), ())
    assert [call.tells for call in calls(path).found] == [""]


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_prologue_that_no_compiler_writes(build: CompileC, by_hand: bool) -> None:
    """Registers saved behind the alignment, as in glibc's libmvec: the address given away proves nothing then."""
    save, align = "push %r12\n", "and $-64, %rsp\n"
    code = (
        f".globl f\n.type f, @function\nf:\npush %rbp\nmov %rsp, %rbp\n{align + save if by_hand else save + align}"
        "sub $0xb8, %rsp\nmov %rdi, %r12\nvmovups %zmm0, (%rsp)\nlea 0x40(%rsp), %rdi\nlea 0x60(%rsp), %rsi\n"
        "call fill@PLT\nvmovupd 0x40(%rsp), %ymm0\nvmovupd %ymm0, 0x20(%r12)\nmov -8(%rbp), %r12\nleave\nret\n"
        ".size f, . - f\n"
    )
    found = stack_use(build({"f.s": code}, kind="shared-library", link_flags=["-nostdlib"]))
    assert (found.unprotected_count, found.doubtful) == ((0, 1) if by_hand else (1, 0))

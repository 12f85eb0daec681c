"""Programs of Go, Rust, Fortran and Ada, alone and with a unit of C in them.

The mitigations of C compilers do not apply to Go and Rust code; to the unit of C among it they do.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_hardening.model import Outcome

from .build import BuiltUnit
from .probes import compile_truth
from .sources import UNITS, source
from .store import Store
from .toolchains import TOOLCHAINS
from .truth import Expectation

__all__ = ["LANGUAGES", "Program", "programs"]

LANGUAGES = {"go": "go", "rust": "rustc", "fortran": "gfortran", "ada": "gnatmake"}

_OK = Expectation("ok")
_BAD = Expectation("violation")
_NOT_NEEDED = Expectation("not-needed")
_UNPROTECTED = Expectation(
    "cannot-be-told",
    accepted=frozenset({Outcome.FAIL, Outcome.NOT_APPLICABLE}),
    reason="the compiler has no such protection, and no flag for it",
)

# What every one of these linkers does unless a flag says otherwise.
_USUAL = {"nx-stack": _OK, "rwx-segments": _OK, "rpath": _OK, "text-relocations": _OK, "pic": _NOT_NEEDED}
_FULL = {"pie": _OK, "relro": _OK, "bind-now": _OK}
_LAZY = {"relro": _BAD, "bind-now": _BAD}
_LIKE_C = Expectation(
    "cannot-be-told",
    accepted=frozenset({Outcome.PASS, Outcome.NOT_APPLICABLE}),
    reason="its run-time library's units are known by no name, and look like C",
)
_NO_C = {"stack-protector": _LIKE_C, "fortify": _LIKE_C, "cf-protection": _UNPROTECTED}

# Linked by gcc, a Go program has the C units of runtime/cgo in it.
_CGO_RUNTIME = Expectation(
    "cannot-be-told",
    accepted=frozenset(Outcome),
    reason="units of C in Go's own run-time library, compiled with its own flags (-fno-stack-protector)",
)
_GO_RUNTIME = {"stack-protector": _CGO_RUNTIME, "fortify": _CGO_RUNTIME}

_GO = """\
package main

import (
	"fmt"
	"os"
)

func main() { fmt.Println("arguments:", len(os.Args)) }
"""
_CGO = """\
package main

// int stream_run(int count, char **words);
import "C"

func main() { C.stream_run(0, nil) }
"""
_GO_MODULE = "module example\n\ngo 1.19\n"
_RUST = """\
fn main() {
    let mut block = [0u8; 200_000];
    for (at, word) in std::env::args().enumerate() { block[at] = word.len() as u8; }
    println!("{}", block.iter().map(|byte| *byte as u32).sum::<u32>());
}
"""
_RUST_WITH_C = """\
extern "C" { fn stream_run(count: i32, words: *const *const u8) -> i32; }
fn main() { println!("{}", unsafe { stream_run(0, std::ptr::null()) }); }
"""
_RUST_LIBRARY = """\
#[no_mangle]
pub extern "C" fn total(data: *const u8, size: usize) -> u32 {
    unsafe { std::slice::from_raw_parts(data, size) }.iter().map(|byte| *byte as u32).sum()
}
"""
_FORTRAN = """\
program totals
  implicit none
  character(len=64) :: line
  integer :: n
  n = 0
  call label(line, n)
  print *, trim(line), n
contains
  subroutine label(text, count)
    character(len=*), intent(out) :: text
    integer, intent(inout) :: count
    character(len=48) :: part
    write (part, '(a,i4)') 'count', count
    text = part
    count = count + len_trim(part)
  end subroutine
end program
"""
_ADA = """\
with Ada.Text_IO; use Ada.Text_IO;
procedure Totals is
   function Label (Count : Integer) return String is
      Part : String (1 .. 40) := (others => ' ');
   begin
      Part (1 .. 5) := "count";
      return Part (1 .. 5) & Integer'Image (Count);
   end Label;
begin
   Put_Line (Label (42));
end Totals;
"""

_ON = ("-O2", "-g", "-fPIC", "-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2")
_OFF = ("-O2", "-g", "-fPIC", "-fno-stack-protector", "-U_FORTIFY_SOURCE")


@dataclass(frozen=True, slots=True)
class Program:
    """A linked file and what is true of it; checks that `truth` does not name are not asked."""

    title: str
    path: Path
    truth: Mapping[str, Expectation]
    units: tuple[BuiltUnit, ...]
    stripped: bool
    commands: tuple[str, ...]

    @property
    def compiled(self) -> int:
        return 1 + len(self.units)


def programs(store: Store, language: str) -> Iterator[Program]:
    """All files of one language, each as linked and stripped."""
    make = {"go": _go, "rust": _rust, "fortran": _fortran, "ada": _ada}[language]
    for program in make(store):
        yield program
        path = store.product(
            program.path.name, [("linked", program.path)], (), ("strip", "-o", program.path.name, "linked")
        )
        commands = (*program.commands, f"strip {program.path.name}")
        yield Program(f"{program.title} stripped", path, program.truth, program.units, True, commands)


def _program(
    store: Store,
    title: str,
    argv: Sequence[str],
    files: Mapping[str, str],
    truth: Mapping[str, Expectation],
    units: Sequence[BuiltUnit] = (),
    linked: Sequence[BuiltUnit] = (),
) -> Program:
    """`units`: those of C in it; `linked`: those of them that the command finds as objects."""
    inputs = [(unit.object, unit.path) for unit in linked]
    name = argv[list(argv).index("-o") + 1]
    path = store.product(name, inputs, tuple(files.items()), argv)
    commands = (*(unit.command for unit in linked), shlex.join(argv))
    return Program(title, path, truth, tuple(units or linked), False, commands)


def _c_unit(store: Store, flags: tuple[str, ...]) -> BuiltUnit:
    toolchain, unit = TOOLCHAINS[0], UNITS["F"]
    argv = (*toolchain.command, *flags, "-c", "F.c", "-o", "F.o")
    path = store.product("F.o", (), (("F.c", source(unit)),), argv)
    truth = compile_truth(store, toolchain, flags)
    return BuiltUnit("F.c", toolchain, unit.functions, path, shlex.join(argv), truth)


def _of_c(unit: BuiltUnit) -> dict[str, Expectation]:
    """What the unit of C decides."""
    truth = unit.truth
    protected = truth is not None and bool(truth.stack_protector)
    fortified = truth is not None and truth.fortify >= 2
    short = Expectation("violation", (unit,))
    return {"stack-protector": _OK if protected else short, "fortify": _OK if fortified else short}


def _go(store: Store) -> Iterator[Program]:
    pie = {"pie": _OK, **_USUAL, **_NO_C}
    # Go's own linker makes a static program; with -buildmode=pie one that has nothing to bind
    yield _program(store, "go/own linker", ("go", "build", "-o", "PROGRAM", "main.go"), {"main.go": _GO},
                   {**_USUAL, **_NO_C, "pie": _BAD, "bind-now": _NOT_NEEDED})  # fmt: skip
    for options, linked in (("-Wl,-z,relro,-z,now", _FULL), ("-Wl,-z,norelro,-z,lazy", {"pie": _OK, **_LAZY})):
        words = ("-buildmode=pie", f"-ldflags=-linkmode=external -extldflags={options}")
        yield _program(store, f"go/pie {options}", ("go", "build", *words, "-o", "PROGRAM", "main.go"),
                       {"main.go": _GO}, {**pie, **linked, **_GO_RUNTIME})  # fmt: skip
    for name, flags in (("on", _ON), ("off", _OFF)):
        unit = _c_unit(store, flags)
        argv = ("env", f"CGO_CFLAGS={' '.join(flags)}", "go", "build",
                "-ldflags=-linkmode=external -extldflags=-Wl,-z,relro,-z,now", "-o", "PROGRAM", ".")  # fmt: skip
        files = {"main.go": _CGO, "F.c": source(UNITS["F"]), "go.mod": _GO_MODULE}
        truth = {**_USUAL, "cf-protection": _UNPROTECTED, "pie": _BAD, "relro": _OK, "bind-now": _OK}
        truth |= _of_c(unit) if name == "off" else _GO_RUNTIME
        yield _program(store, f"go/cgo {name}", argv, files, truth, units=(unit,))


def _rust(store: Store) -> Iterator[Program]:
    # Debian's, where another one comes first on PATH
    rustc = "/usr/bin/rustc" if Path("/usr/bin/rustc").exists() else "rustc"
    plain = {"main.rs": _RUST}
    usual = {**_USUAL, **_NO_C}
    yield _program(store, "rust/defaults", (rustc, "-O", "main.rs", "-o", "PROGRAM"), plain, {**usual, **_FULL})
    yield _program(store, "rust/debug", (rustc, "-g", "main.rs", "-o", "PROGRAM"), plain, {**usual, **_FULL})
    argv: tuple[str, ...] = (
        rustc,
        "-C",
        "relocation-model=static",
        "-C",
        "link-arg=-no-pie",
        "main.rs",
        "-o",
        "PROGRAM",
    )
    yield _program(store, "rust/static relocation model", argv, plain, {**usual, **_FULL, "pie": _BAD})
    argv = (rustc, "-C", "link-arg=-Wl,-z,norelro,-z,lazy", "main.rs", "-o", "PROGRAM")
    yield _program(store, "rust/relro off", argv, plain, {**usual, "pie": _OK, "relro": _BAD})
    argv = (rustc, "-C", "link-arg=-Wl,-z,execstack", "main.rs", "-o", "PROGRAM")
    yield _program(store, "rust/execstack", argv, plain, {**usual, **_FULL, "nx-stack": _BAD})
    argv = (rustc, "-O", "--crate-type=cdylib", "total.rs", "-o", "libtotal.so")
    yield _program(store, "rust/cdylib", argv, {"total.rs": _RUST_LIBRARY},
                   {**usual, **_FULL, "pie": _NOT_NEEDED, "pic": _OK})  # fmt: skip
    for name, flags in (("on", _ON), ("off", _OFF)):
        unit = _c_unit(store, flags)
        argv = (rustc, "-O", "-C", "link-arg=F.o", "main.rs", "-o", "PROGRAM")
        yield _program(store, f"rust/with C {name}", argv, {"main.rs": _RUST_WITH_C},
                       {**usual, **_FULL, **_of_c(unit)}, linked=(unit,))  # fmt: skip


def _fortran(store: Store) -> Iterator[Program]:
    usual = {**_USUAL, **_FULL, "stack-protector": _OK, "fortify": _NOT_NEEDED}
    link = ("-pie", "-Wl,-z,relro", "-Wl,-z,now")
    command = ("gfortran", "-O2", "-g", "-fPIE", "-fstack-protector-strong", *link, "main.f90")
    argv: tuple[str, ...] = (*command, "-o", "PROGRAM")
    yield _program(store, "fortran/everything on", argv, {"main.f90": _FORTRAN}, usual)
    for name, flags in (("on", _ON), ("off", _OFF)):
        unit = _c_unit(store, flags)
        argv = (*command, "F.o", "-o", "PROGRAM")
        yield _program(store, f"fortran/with C {name}", argv, {"main.f90": _FORTRAN}, {**usual, **_of_c(unit)},
                       linked=(unit,))  # fmt: skip


def _ada(store: Store) -> Iterator[Program]:
    usual = {**_USUAL, **_FULL, "fortify": _NOT_NEEDED, "stack-protector": _OK}
    link = ("-pie", "-Wl,-z,relro", "-Wl,-z,now")
    flags = ("-O2", "-g", "-fPIE", "-fstack-protector-strong", "-bargs", "-shared", "-largs")
    command = ("gnatmake", "-q", "totals.adb", "-o", "PROGRAM", *flags)
    yield _program(store, "ada/everything on", (*command, *link), {"totals.adb": _ADA}, usual)
    lazy = ("-pie", "-Wl,-z,norelro", "-Wl,-z,lazy")
    yield _program(store, "ada/link off", (*command, *lazy), {"totals.adb": _ADA}, {**usual, **_LAZY})

from __future__ import annotations

import multiprocessing
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_hardening.errors import BuildError
from pytest_hardening.toolchain import BuildCache, Builder, Compiler, find_compiler

PROGRAM = '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n'
E_C = "int e(void) { return 1; }\n"
F_C = "int f(const char *s) { char b[64]; int i = 0; while ((b[i & 63] = s[i])) i++; return b[3]; }\n"


def tool(*words: str | Path) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def header(path: Path) -> str:
    return tool("readelf", "-h", path)


def compile_steps(calls: Path) -> int:
    return sum("-c" in line.split() for line in calls.read_text().splitlines())


def compile_program(root: Path, compiler: Compiler) -> None:
    Builder(BuildCache(root)).compile(compiler, PROGRAM)


def test_program_runs(builder: Builder, gcc: Compiler) -> None:
    path = builder.compile(gcc, PROGRAM, name="PROGRAM")
    assert path.name == "PROGRAM"
    assert tool(path) == "hello\n"


def test_compiler_gets_the_flags_given_and_no_other(builder: Builder, gcc: Compiler) -> None:
    builder.compile(
        gcc, {"A.c": E_C, "B.c": F_C}, kind="shared-library", flags=["-fPIC"], link_flags=["-Wl,-z,now"], name="libX.so"
    )
    driver = str(gcc.path)
    assert [command.argv for command in builder.log.records[0].commands] == [
        (driver, "-fPIC", "-c", "-o", "A.o", "A.c"),
        (driver, "-fPIC", "-c", "-o", "B.o", "B.c"),
        (driver, "-shared", "-fPIC", "-o", "libX.so", "A.o", "B.o", "-Wl,-z,now"),
    ]


@pytest.mark.parametrize(
    ("command", "variable", "value"),
    [
        ("gcc", "CFLAGS", "-no-such-flag"),
        ("gcc", "CPATH", "{poison}"),
        ("clang", "C_INCLUDE_PATH", "{poison}"),
        ("gcc", "GCC_EXEC_PREFIX", "/nowhere/"),
        ("musl-gcc", "REALGCC", "/nowhere/gcc"),
        ("clang", "CCC_OVERRIDE_OPTIONS", "+-no-such-flag"),
    ],
)
def test_environment_has_no_effect(
    builder: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, variable: str, value: str
) -> None:
    (tmp_path / "stdio.h").write_text("#error taken from the environment\n")
    monkeypatch.setenv(variable, value.format(poison=tmp_path))
    assert tool(builder.compile(find_compiler(command), PROGRAM)) == "hello\n"


def test_failing_compile_shows_command_and_output(builder: Builder, gcc: Compiler) -> None:
    with pytest.raises(BuildError) as caught:
        builder.compile(gcc, {"A.c": "int a = nonsense;\n"}, flags=["-O2"])
    lines = str(caught.value).splitlines()
    assert lines[0] == f"command failed with exit status 1: {gcc.path} -O2 -c -o A.o A.c"
    assert "A.c:1:9: error: 'nonsense' undeclared" in str(caught.value)
    assert "nonsense" in builder.log.text()


def test_missing_header_fails_in_the_compile_step(builder: Builder, gcc: Compiler) -> None:
    with pytest.raises(BuildError, match=r"(?s) -c -o source\.o source\.c\n.*absent\.h"):
        builder.compile(gcc, '#include "absent.h"\n', kind="object")
    assert [path.name for path in builder.cache.root.iterdir() if path.suffix != ".lock"] == []


def test_equal_calls_run_no_compile_step_twice(builder: Builder, counting_gcc: tuple[Compiler, Path]) -> None:
    compiler, calls = counting_gcc
    first = builder.compile(compiler, PROGRAM, flags=["-O2"])
    second = builder.compile(compiler, PROGRAM, flags=["-O2"])
    assert first == second
    assert compile_steps(calls) == 1
    assert calls.read_text().count("-o program") == 1
    assert builder.log.records[1].cached
    assert builder.log.records[1].commands == builder.log.records[0].commands
    assert builder.compile(compiler, PROGRAM, flags=["-O1"]) != first
    assert builder.compile(compiler, PROGRAM, link_flags=["-O2"]) != first


def test_two_processes_compile_once(tmp_path: Path, counting_gcc: tuple[Compiler, Path]) -> None:
    compiler, calls = counting_gcc
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=compile_program, args=(tmp_path / "cache", compiler)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert compile_steps(calls) == 1


def test_debug_information_does_not_make_the_key_random(builder: Builder, gcc: Compiler) -> None:
    paths = {builder.compile(gcc, PROGRAM, flags=["-g", "-O2"]) for _ in range(2)}
    assert len(paths) == 1
    (path,) = paths
    dwarf = tool("readelf", "--debug-dump=info", path)
    assert "source.c" in dwarf
    assert str(path.parent) in dwarf  # DW_AT_comp_dir: the folder where the sources still are
    assert "preprocess-" not in dwarf


def test_changed_header_beside_a_source_file_changes_the_result(
    builder: Builder, gcc: Compiler, tmp_path: Path
) -> None:
    (tmp_path / "answer.h").write_text("#define ANSWER 41\n")
    source = tmp_path / "main.c"
    source.write_text('#include "answer.h"\nint main(void) { return ANSWER; }\n')
    first = builder.compile(gcc, source)
    assert subprocess.run([first], check=False).returncode == 41
    (tmp_path / "answer.h").write_text("#define ANSWER 42\n")
    second = builder.compile(gcc, source)
    assert subprocess.run([second], check=False).returncode == 42
    assert subprocess.run([first], check=False).returncode == 41


def test_changed_header_in_a_mapping_changes_the_result(builder: Builder, gcc: Compiler) -> None:
    def exit_status(answer: int) -> int:
        sources = {
            "sub/main.c": "#include <answer.h>\nint main(void) { return ANSWER; }\n",
            "answer.h": f"#define ANSWER {answer}\n",
        }
        return subprocess.run([builder.compile(gcc, sources)], check=False).returncode

    assert [exit_status(41), exit_status(42)] == [41, 42]


def test_relative_source_starts_at_the_base(tmp_path: Path, gcc: Compiler) -> None:
    (tmp_path / "main.c").write_text(PROGRAM)
    builder = Builder(BuildCache(tmp_path / "cache"), base=tmp_path)
    assert tool(builder.compile(gcc, Path("main.c"))) == "hello\n"


def test_archive_has_one_member_per_source_with_its_own_flags(builder: Builder, gcc: Compiler) -> None:
    path = builder.compile(
        gcc,
        {"E.c": E_C, "F.c": F_C},
        kind="archive",
        name="EF.a",
        flags=["-fstack-protector-strong"],
        unit_flags={"F.c": ["-fno-stack-protector"]},
    )
    assert tool("ar", "t", path).split() == ["E.o", "F.o"]
    assert "__stack_chk_fail" not in tool("nm", path)
    protected = builder.compile(
        gcc, {"E.c": E_C, "F.c": F_C}, kind="archive", name="EF.a", flags=["-fstack-protector-strong"]
    )
    assert "__stack_chk_fail" in tool("nm", protected)


def test_archive_keeps_members_of_the_same_name(builder: Builder, gcc: Compiler) -> None:
    path = builder.compile(gcc, {"a/F.c": E_C, "b/F.c": F_C}, kind="archive")
    assert tool("ar", "t", path).split() == ["F.o", "F.o"]
    assert {"e", "f"} <= set(tool("nm", path).split())


def test_assembler_and_cplusplus_sources(builder: Builder) -> None:
    sources = {
        "main.cpp": '#include <iostream>\nextern "C" int value, other;\nint main() { std::cout << value + other; }\n',
        "value.S": "#define VALUE 40\n.data\n.globl value\nvalue: .long VALUE\n",
        "other.s": '.data\n.globl other\nother: .long 2\n.section .note.GNU-stack,"",@progbits\n',
    }
    path = builder.compile(find_compiler("g++"), sources, flags=["-no-pie"], link_flags=["-Wl,--no-warn-execstack"])
    assert tool(path) == "42"


def test_c_and_assembler_of_one_name_do_not_collide(builder: Builder, gcc: Compiler) -> None:
    path = builder.compile(gcc, {"F.c": E_C, "F.S": ".globl g\ng:\n"}, kind="archive")
    assert tool("ar", "t", path).split() == ["F.o", "F.S.o"]


def test_objects_are_linked_by_name_and_options_keep_their_place(builder: Builder, gcc: Compiler) -> None:
    archive = builder.compile(gcc, {"A.c": E_C}, kind="archive", flags=["-fPIC"], name="AB.a")
    library = builder.compile(
        gcc,
        {"C.c": "int c(void) { return 2; }\n"},
        kind="shared-library",
        flags=["-fPIC"],
        objects=["-Wl,--whole-archive", archive, "-Wl,--no-whole-archive"],
        name="libSHARED.so",
    )
    assert {"c", "e"} <= set(tool("nm", "-D", library).split())
    main = "int c(void), e(void); int main(void) { return c() + e(); }\n"
    program = builder.compile(gcc, main, objects=[library], link_flags=[f"-Wl,-rpath,{library.parent}"])
    assert subprocess.run([program], check=False).returncode == 3
    assert "[libSHARED.so]" in tool("readelf", "-d", program)


def test_changed_object_changes_the_result(builder: Builder, gcc: Compiler, tmp_path: Path) -> None:
    main = "int value(void); int main(void) { return value(); }\n"
    results = []
    for number in (1, 2):
        made = builder.compile(gcc, {"v.c": f"int value(void) {{ return {number}; }}\n"}, kind="object")
        (tmp_path / "v.o").write_bytes(made.read_bytes())
        program = builder.compile(gcc, main, objects=[tmp_path / "v.o"])
        results.append(subprocess.run([program], check=False).returncode)
    assert results == [1, 2]


def test_objects_alone_can_be_linked_and_archived(builder: Builder, gcc: Compiler) -> None:
    one = builder.compile(gcc, {"x.c": E_C}, kind="object")
    two = builder.compile(gcc, {"x.c": F_C}, kind="object")
    assert (one.name, two.name) == ("x.o", "x.o")
    assert tool("ar", "t", builder.compile(gcc, [], kind="archive", objects=[one, two])).split() == ["x.o", "x.o"]


def test_linker_reads_a_script_from_the_mapping(builder: Builder, gcc: Compiler) -> None:
    sources = {"E.c": E_C + F_C, "export.map": "{ global: e; local: *; };\n"}
    flags = ["-fPIC", "-Wl,--version-script=export.map"]
    symbols = tool("nm", "-D", builder.compile(gcc, sources, kind="shared-library", flags=flags)).split()
    assert "e" in symbols
    assert "f" not in symbols


@pytest.mark.parametrize(
    ("command", "machine"),
    [
        ("aarch64-linux-gnu-gcc", "AArch64"),
        ("musl-gcc", "X86-64"),
        ("clang-14", "X86-64"),
        ("clang --target=aarch64-linux-gnu", "AArch64"),
    ],
)
def test_other_compilers_make_objects_and_indexed_archives(builder: Builder, command: str, machine: str) -> None:
    compiler = find_compiler(command)
    assert machine in header(builder.compile(compiler, {"E.c": E_C}, kind="object"))
    archive = builder.compile(compiler, {"E.c": E_C, "F.c": F_C}, kind="archive")
    assert "e in E.o" in tool("nm", "-s", archive)
    main = "int e(void); int main(void) { return e(); }\n"
    if "--target" not in command:  # clang would need the target's C library and linker
        assert machine in header(builder.compile(compiler, main, objects=[archive]))


def test_time_limit_of_a_command(gcc: Compiler, tmp_path: Path) -> None:
    slow = tmp_path / "slow-gcc"
    slow.write_text('#!/bin/sh\ncase " $*" in *" -c "*) sleep 60;; esac\nexec gcc "$@"\n')
    slow.chmod(0o755)
    builder = Builder(BuildCache(tmp_path / "cache"), timeout=1.0)
    with pytest.raises(BuildError, match="timed out after 1 s"):
        builder.compile(find_compiler(str(slow)), PROGRAM)


def test_contradictions_are_named(builder: Builder, gcc: Compiler, tmp_path: Path) -> None:
    def message(*args: object, **arguments: object) -> str:
        with pytest.raises(BuildError) as caught:
            builder.compile(gcc, *args, **arguments)  # type: ignore[arg-type]
        return str(caught.value)

    assert "give a pathlib.Path" in message("main.c")
    assert "cannot read the source file" in message(tmp_path / "absent.c")
    assert "No such file" in message(tmp_path / "absent.c")
    assert "two source files have the name 'a.c'" in message([{"a.c": E_C}, {"a.c": F_C}])
    assert "does not stay in the build's folder" in message({"../a.c": E_C})
    assert "does not stay in the build's folder" in message({"/a.c": E_C})
    assert "read as an option" in message({"-a.c": E_C})
    assert "nothing to compile" in message({"a.h": "int x;\n"})
    assert "an object comes from one source file" in message([E_C, F_C], kind="object")
    assert "unit_flags names g.c; the source files are: source.c" in message(E_C, unit_flags={"g.c": ["-O2"]})
    assert "is not a plain file name" in message(E_C, name="a/b")
    assert "have the same name 'source.c'" in message(E_C, name="source.c")
    assert "unknown kind 'library'" in message(E_C, kind="library")
    assert "the object to link does not exist" in message(E_C, objects=[tmp_path / "x.o"])


@pytest.mark.parametrize("argument", ["flags", "link_flags", "objects"])
def test_one_text_is_no_list_of_flags(builder: Builder, gcc: Compiler, argument: str) -> None:
    arguments: dict[str, Any] = {argument: "-O2 -g"}
    with pytest.raises(BuildError, match=f"^{argument}='-O2 -g': expected a list of strings"):
        builder.compile(gcc, PROGRAM, **arguments)
    with pytest.raises(BuildError, match=r"^unit_flags\['source.c'\]='-O2': expected a list of strings"):
        builder.compile(gcc, PROGRAM, unit_flags={"source.c": "-O2"})


@pytest.mark.parametrize("compiler", ["gcc", "clang", "tcc"])
def test_equal_builds_in_two_folders_are_equal_bytes(
    tmp_path: Path, compiler_for: Callable[[str], Compiler], compiler: str
) -> None:
    found = compiler_for(compiler)
    source = {"main.c": "int main(void) { return 0; }\n"}
    made = [
        Builder(BuildCache(tmp_path / name), hide_folder=True).compile(found, source, flags=["-g"]).read_bytes()
        for name in ("one", "another")
    ]
    # tcc has no -ffile-prefix-map, and is not given it
    assert (made[0] == made[1]) is (compiler != "tcc")

"""Gate three Debian source packages as they are built, and again with one flag taken away from one target.

    python benchmarks/debian_sources.py [--folder DIR] [--profile kms-6.7]

Fetches json-c (CMake), fribidi (Meson) and xz-utils (Autotools) with `apt-get source`, builds them with the flags of
`dpkg-buildflags` for hardening=+all, gates them, takes one flag away from one target, and gates them again. What fails
then and did not before must be that target alone; else the exit status is 1. Needs a `deb-src` line in apt's sources,
and the packages dpkg-dev, cmake, meson, ninja-build, gcc, make.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

from pytest_hardening.artifacts.build_systems.cmake import place_query

_FLAGS = ("CFLAGS", "CPPFLAGS", "CXXFLAGS", "LDFLAGS")
_UNWANTED = re.compile(r"-ffile-prefix-map=\S+")

#: (file, check) of what failed.
Failures = set[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Package:
    """A source package.

    Parameters
    ----------
    name: of the source package.
    system: its build system, for people.
    build: configures and builds: source folder, build folder, environment.
    weaken: takes one flag away from one target, and builds again.
    what: what is taken away, for people.
    lost: the file that then lacks something, below the build folder.
    gate: the option that names the build folder.
    """

    name: str
    system: str
    build: Callable[[str, str, dict[str, str]], None]
    weaken: Callable[[str, str, dict[str, str]], None]
    what: str
    lost: str
    gate: str


def run(*command: str, folder: str = ".", env: dict[str, str] | None = None) -> None:
    """Run a command; show its output only when it fails."""
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} in {folder}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def append(path: str, text: str) -> None:
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(text)


def replace(path: str, old: str, new: str) -> None:
    with open(path, encoding="utf-8") as stream:
        text = stream.read()
    if text.count(old) != 1:
        sys.exit(f"{path}: {old!r} stands there {text.count(old)} times")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text.replace(old, new))


def cmake(source: str, build: str, env: dict[str, str]) -> None:
    os.makedirs(build, exist_ok=True)
    place_query(build)
    env = {**env, "CFLAGS": f"{env['CFLAGS']} {env['CPPFLAGS']}"}  # CMake reads no CPPFLAGS
    run("cmake", "-S", source, "-B", build, "-DCMAKE_POSITION_INDEPENDENT_CODE=ON", env=env)
    run("cmake", "--build", build, "-j2", env=env)


def weaken_cmake(source: str, build: str, env: dict[str, str]) -> None:
    append(os.path.join(source, "CMakeLists.txt"), "\ntarget_compile_options(json-c PRIVATE -fno-stack-protector)\n")
    run("cmake", "--build", build, "-j2", env=env)


def meson(source: str, build: str, env: dict[str, str]) -> None:
    run("meson", "setup", "--buildtype=plain", "-Ddocs=false", build, source, env=env)
    run("ninja", "-C", build, env=env)


def weaken_meson(source: str, build: str, env: dict[str, str]) -> None:
    replace(
        os.path.join(source, "bin/meson.build"),
        "  link_with: libfribidi,\n  install: true)",
        "  link_with: libfribidi,\n  link_args: ['-Wl,-z,norelro'],\n  install: true)",
    )
    run("ninja", "-C", build, env=env)


def autotools(source: str, build: str, env: dict[str, str]) -> None:
    os.makedirs(build, exist_ok=True)
    run(os.path.join(source, "configure"), "--disable-nls", "-q", folder=build, env=env)
    run("make", "-j2", folder=build, env=env)


def weaken_autotools(source: str, build: str, env: dict[str, str]) -> None:
    program = os.path.join(build, "src/xzdec/xzdec")
    for path in (program, os.path.join(os.path.dirname(program), ".libs/xzdec")):
        if os.path.exists(path):
            os.unlink(path)
    run("make", "xzdec", "LDFLAGS=-Wl,-z,relro", folder=os.path.dirname(program), env=env)


PACKAGES = (
    Package("json-c", "CMake", cmake, weaken_cmake, "-fstack-protector-strong from the units of json-c",
            "libjson-c.so.5.2.0", "--hardening-build"),
    Package("fribidi", "Meson", meson, weaken_meson, "-z relro from the link step of fribidi",
            "bin/fribidi", "--hardening-build"),
    Package("xz-utils", "Autotools", autotools, weaken_autotools, "-z now from the link step of xzdec",
            "src/xzdec/.libs/xzdec", "--hardening"),
)  # fmt: skip


def flags(folder: str) -> dict[str, str]:
    """The environment that a Debian package with hardening=+all is built in."""
    env = {**os.environ, "DEB_BUILD_MAINT_OPTIONS": "hardening=+all", "LC_ALL": "C.UTF-8"}
    for name in _FLAGS:
        done = subprocess.run(
            ["dpkg-buildflags", "--get", name], env=env, cwd=folder, capture_output=True, text=True, check=True
        )
        env[name] = _UNWANTED.sub("", done.stdout).strip()
    return env


def gate(package: Package, build: str, profile: str, report: str) -> tuple[Failures, str]:
    """What fails, and pytest's closing line."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", package.gate, build]
    command += ["--hardening-profile", profile, "--hardening-report", report]
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(command, cwd=empty, capture_output=True, text=True, check=False)
    if not os.path.exists(report):
        sys.exit(f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    with open(report, encoding="utf-8") as stream:
        entries = json.load(stream)["artifacts"]
    name = os.path.basename(build)
    failing = {
        (entry["path"].rpartition(f"{name}/")[2], verdict["check"])
        for entry in entries
        if entry["member"] is None
        for verdict in entry["verdicts"]
        if verdict["outcome"] == "fail"
    }
    errors = {(entry["path"], entry["error"]) for entry in entries if entry["error"]}
    return failing | errors, done.stdout.strip().splitlines()[-1].strip("= ")


def examine(package: Package, folder: str, profile: str) -> bool:
    """Build and gate a package twice; whether the second report names just what was weakened."""
    run("apt-get", "source", "-q=2", package.name, folder=folder)
    (source,) = (path for path in glob.glob(os.path.join(folder, f"{package.name}-*")) if os.path.isdir(path))
    build = os.path.join(folder, f"build-{package.name}")
    env = flags(source)
    package.build(source, build, env)
    before, closing = gate(package, build, profile, os.path.join(folder, f"{package.name}-1.json"))
    print(f"## {package.name} ({package.system})\nas built: {closing}")
    for path, check in sorted(before):
        print(f"  {path} :: {check}")
    package.weaken(source, build, env)
    after, closing = gate(package, build, profile, os.path.join(folder, f"{package.name}-2.json"))
    new = after - before
    print(f"without {package.what}: {closing}")
    for path, check in sorted(new):
        print(f"  new: {path} :: {check}")
    exact = bool(new) and {path for path, _ in new} == {package.lost} and before <= after
    print("exactly that target" if exact else f"WRONG: expected {package.lost} alone")
    return exact


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="where to build (default: a temporary folder)")
    parser.add_argument("--profile", default="kms-6.7", help="Debian 12's hardening=+all is what kms-6.7 requires")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = os.path.realpath(options.folder or temporary)
        results = [examine(package, folder, options.profile) for package in PACKAGES]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Arguments of the plain functions that FORTIFY replaces, as data: they decide whether it would have replaced a call.

Sources: the prototypes in POSIX.1-2017 and glibc's headers; bits/*2.h and bits/string_fortified.h of glibc 2.36 for
what is replaced; gimple-fold.cc of GCC 12 and SimplifyLibCalls.cpp of LLVM 19 for what compilers turn back.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["FLAG_ARGUMENT", "FORTIFIABLE", "KEPT", "PLAIN", "Shape"]


class Shape(NamedTuple):
    """The zero-based indices of arguments that matter.

    Parameters
    ----------
    target: points to the object that is written to.
    sizes: how much is written at most: a product where there are several. Empty: as much as the source holds.
    form: the format string; -1 where there is none.
    """

    target: int
    sizes: tuple[int, ...] = ()
    form: int = -1


_BY_SHAPE: Final = {
    Shape(0): "strcpy stpcpy strcat wcscpy wcpcpy wcscat gets getwd wctomb wcrtomb",
    Shape(1): "realpath",
    Shape(0, (1,)): (
        "explicit_bzero getcwd getdomainname gethostname getlogin_r fgets fgets_unlocked fgetws fgetws_unlocked poll "
        "ppoll swprintf vswprintf"
    ),
    Shape(1, (0,)): "getgroups",
    Shape(0, (2,)): (
        "memcpy memmove mempcpy memset stpncpy strncat strncpy wcpncpy wcsncat wcsncpy wmemcpy wmemmove wmempcpy "
        "wmemset strlcpy strlcat wcslcpy wcslcat mbstowcs wcstombs mbsrtowcs wcsrtombs"
    ),
    Shape(0, (3,)): "mbsnrtowcs wcsnrtombs",
    Shape(0, (1, 2)): "fread fread_unlocked",
    Shape(1, (2,)): "confstr ptsname_r read readlink recv recvfrom ttyname_r pread pread64",
    Shape(2, (3,)): "inet_ntop readlinkat",
    Shape(0, (), 1): "sprintf vsprintf",
    Shape(0, (1,), 2): "snprintf vsnprintf",
}

#: Plain functions with an object that they write to.
PLAIN: Final[dict[str, Shape]] = {name: shape for shape, names in _BY_SHAPE.items() for name in names.split()}

#: What FORTIFY replaces only where flags are computed: a plain call of these shows nothing, and loses nothing.
KEPT: Final = frozenset("open open64 openat openat64 mq_open".split())

_FLAGS: Final = {
    0: "printf vprintf wprintf vwprintf",
    1: (
        "fprintf vfprintf dprintf vdprintf asprintf vasprintf sprintf vsprintf fwprintf vfwprintf obstack_printf "
        "obstack_vprintf syslog vsyslog"
    ),
    2: "snprintf vsnprintf swprintf vswprintf",
}

#: The argument of a fortified function in which the headers pass `__USE_FORTIFY_LEVEL - 1` (bits/stdio2.h, syslog.h,
#: wchar2.h since glibc 2.3.4): it tells the level of the unit that calls.
FLAG_ARGUMENT: Final[dict[str, int]] = {
    f"__{name}_chk": index for index, names in _FLAGS.items() for name in names.split()
}

#: All plain names that FORTIFY may replace. bits/setjmp2.h does so with the jumps, always.
FORTIFIABLE: Final = frozenset(
    (*PLAIN, *KEPT, *(name[2:-4] for name in FLAG_ARGUMENT), "longjmp", "_longjmp", "siglongjmp")
)

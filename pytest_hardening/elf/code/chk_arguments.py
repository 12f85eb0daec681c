"""Which argument of a fortified function holds the size of the object it writes to.

Source: the prototypes in glibc's debug/*_chk.c and its headers (bits/string_fortified.h, stdio2.h, unistd.h, socket2.h,
poll2.h, stdlib.h, wchar2.h); `__strlcpy_chk` and its family since 2.38, `__inet_*_chk` since 2.42. Functions that take
no object size (`__printf_chk`, `__asprintf_chk`, `__fdelt_chk` ...) are not in it. bionic's functions of the same names
take it at the same place, but for `__fgets_chk` and `__fread_chk`.
"""

from __future__ import annotations

from typing import Final

__all__ = ["SIZE_ARGUMENT"]

_BY_INDEX: Final = {
    1: "fgets fgets_unlocked fgetws fgetws_unlocked fread fread_unlocked gets getwd",
    2: (
        "explicit_bzero getcwd getdomainname getgroups gethostname getlogin_r realpath sprintf stpcpy strcat strcpy "
        "vsprintf wcpcpy wcscat wcscpy wctomb"
    ),
    3: (
        "confstr inet_pton mbstowcs memcpy memmove mempcpy memset poll ptsname_r read readlink recv recvfrom snprintf "
        "stpncpy strlcat strlcpy strncat strncpy swprintf ttyname_r vsnprintf vswprintf wcpncpy wcrtomb wcslcat "
        "wcslcpy wcsncat wcsncpy wcstombs wmemcpy wmemmove wmempcpy wmemset"
    ),
    4: "inet_ntop mbsrtowcs ppoll pread pread64 readlinkat wcsrtombs",
    5: "mbsnrtowcs wcsnrtombs",
}

#: The zero-based index of the argument that holds the object's size, by the function's name. It counts arguments of the
#: prototype, not registers: `__pread64_chk` of a 32-bit file passes its offset in two.
SIZE_ARGUMENT: Final[dict[str, int]] = {
    f"__{name}_chk": index for index, names in _BY_INDEX.items() for name in names.split()
}

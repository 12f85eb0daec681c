"""Names of the functions that _FORTIFY_SOURCE replaces, as data.

Source: the symbols that glibc 2.36 exports (`nm -D libc.so.6`), the additions of glibc 2.38 (its NEWS), and
bits/*2.h of its headers for the level at which each is used; bionic's libc/bionic/fortify.cpp.
"""

from __future__ import annotations

from ..elf.code import plain_calls

__all__ = ["CHECKED", "CHECKED_AT_LEVEL_2", "FORTIFIABLE", "UNCHECKED_BELOW_LEVEL_1", "UNCHECKED_BELOW_LEVEL_2"]

_GLIBC = """
asprintf confstr dprintf explicit_bzero fdelt fgets fgets_unlocked fgetws fgetws_unlocked fprintf fread fread_unlocked
fwprintf getcwd getdomainname getgroups gethostname getlogin_r gets getwd longjmp mbsnrtowcs mbsrtowcs mbstowcs memcpy
memmove mempcpy memset obstack_printf obstack_vprintf poll ppoll pread pread64 printf ptsname_r read readlink readlinkat
realpath recv recvfrom snprintf sprintf stpcpy stpncpy strcat strcpy strncat strncpy swprintf syslog ttyname_r vasprintf
vdprintf vfprintf vfwprintf vprintf vsnprintf vsprintf vswprintf vsyslog vwprintf wcpcpy wcpncpy wcrtomb wcscat wcscpy
wcsncat wcsncpy wcsnrtombs wcsrtombs wcstombs wctomb wmemcpy wmemmove wmempcpy wmemset wprintf
strlcpy strlcat wcslcpy wcslcat
""".split()
_BIONIC = """
FD_CLR FD_ISSET FD_SET bcopy bzero fwrite memchr memrchr pwrite pwrite64 send sendto strchr strlen strrchr umask write
""".split()

#: What a fortified call is called. Only undefined symbols count: a library may define such a name itself.
CHECKED = frozenset(f"__{name}_chk" for name in (*_GLIBC, *_BIONIC)) | {
    "__open_2", "__open64_2", "__openat_2", "__openat64_2", "__mq_open_2", "__strncpy_chk2", "__stpncpy_chk2",
}  # fmt: skip

# bits/stdio2.h and bits/wchar2.h use these under `__USE_FORTIFY_LEVEL > 1` only, and then always
_FROM_LEVEL_2 = """
asprintf dprintf fprintf fwprintf obstack_printf obstack_vprintf printf vasprintf vdprintf vfprintf vfwprintf vprintf
vwprintf wprintf
""".split()

#: An undefined one of these proves level 2 or higher.
CHECKED_AT_LEVEL_2 = frozenset(f"__{name}_chk" for name in _FROM_LEVEL_2)

#: A direct call to one of these proves a unit below level 2. snprintf and sprintf are not among them: GCC turns the
#: checked call with the format "%s" back into the plain one (gcc/gimple-fold.cc, gimple_fold_builtin_snprintf_chk); of
#: wide formats it knows nothing. clang leaves vswprintf.
UNCHECKED_BELOW_LEVEL_2 = frozenset((*_FROM_LEVEL_2, "swprintf"))

#: A direct call to one of these proves a unit without _FORTIFY_SOURCE (bits/syslog.h, bits/setjmp2.h: replaced at every
#: level).
UNCHECKED_BELOW_LEVEL_1 = frozenset(("syslog", "vsyslog", "longjmp", "_longjmp", "siglongjmp"))

#: Plain names that FORTIFY may replace, or may leave where the size is unknown or proven.
FORTIFIABLE = plain_calls.FORTIFIABLE

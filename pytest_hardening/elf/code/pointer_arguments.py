"""Which arguments of C library functions point to an object of the caller, so that a frame address there is a local's.

An address in a caller's own frame is no proof by itself: large structures travel by reference to a copy, a vararg list
is an address in the frame, compilers call memcpy() and memset() themselves to copy and clear structures, and sincos()
with temporaries of their own. The functions here take nothing by value that could be passed by reference, and no
compiler calls them of its own accord, but for those in `BLOCKS`, which it calls with constant sizes only.

Sources: the prototypes in POSIX.1-2017 and glibc's headers; GCC 12 gimplify.cc and expr.cc for calls of its own.
"""

from __future__ import annotations

from typing import Final

__all__ = ["BLOCKS", "OBJECTS", "TEXTS", "base_name"]

_TEXTS: Final = {
    (0,): (
        "access asprintf atof atoi atol atoll basename chdir chmod chown chroot creat dirname dlopen execl execle "
        "execlp execv execve execvp fgets fgets_unlocked fgetws fopen fopen64 fputs fputs_unlocked fputws getcwd "
        "getenv gethostbyname gethostname getlogin_r getpwnam gets getwd inet_addr lstat lstat64 mkdir mkdtemp mkfifo "
        "mkstemp mkstemp64 open open64 opendir perror puts remove rmdir snprintf sprintf sscanf stat stat64 strchr "
        "strchrnul strdup strftime strlen strndup strnlen strrchr strsep strtod strtof strtok strtok_r strtol strtold "
        "strtoll strtoul strtoull swprintf system truncate truncate64 unlink unsetenv vsnprintf vsprintf vsscanf "
        "vswprintf wcschr wcslen wcsrchr"
    ),
    (0, 1): (
        "freopen getaddrinfo link mbstowcs readlink realpath rename setenv stpcpy stpncpy strcasecmp strcasestr "
        "strcat strcmp strcoll strcpy strcspn strlcat strlcpy strncasecmp strncat strncmp strncpy strpbrk strspn "
        "strstr strxfrm symlink wcpcpy wcpncpy wcscat wcscmp wcscpy wcsncat wcsncmp wcsncpy wcsstr wcstombs"
    ),
    (1,): (
        "confstr dlsym inet_aton inet_pton mkdirat openat openat64 ptsname_r readlinkat regcomp regexec strerror_r "
        "ttyname_r unlinkat"
    ),
    (2,): "inet_ntop",
}

_OBJECTS: Final[dict[tuple[int, ...], str]] = {
    (0,): (
        "fread fread_unlocked fwrite fwrite_unlocked getdomainname getentropy getrandom pipe pipe2 poll ppoll qsort "
        "regcomp sigaddset sigdelset sigemptyset sigfillset sysinfo times uname"
    ),
    (1,): (
        "bind connect epoll_wait execv execvp fstat fstat64 getgroups getpeername getrlimit getrlimit64 getrusage "
        "getsockname gmtime_r localtime_r lstat lstat64 pread pread64 pwrite pwrite64 read readv recv recvfrom "
        "recvmsg send sendmsg sendto setbuf setrlimit setvbuf sigaction stat stat64 statfs statfs64 statvfs tcgetattr "
        "write writev"
    ),
    (2,): "readlinkat sigaction tcsetattr",
    (3,): "socketpair",
}

# The scanf family is given pointers only, from its third argument on (scanf() itself from the second).
_OBJECTS[2, 3, 4, 5, 6, 7] = "fscanf fwscanf sscanf swscanf"
_OBJECTS[1, 2, 3, 4, 5, 6, 7] = "scanf wscanf"

_BLOCKS: Final = {
    (0, 1): "bcmp memcmp memcpy memmem memmove mempcpy wmemcpy wmemmove",
    (0,): "explicit_bzero memchr memrchr memset wmemset",
}


def _table(rows: dict[tuple[int, ...], str]) -> dict[str, tuple[int, ...]]:
    table: dict[str, tuple[int, ...]] = {}
    for indices, names in rows.items():
        for name in names.split():
            table[name] = tuple(dict.fromkeys(table.get(name, ()) + indices))
    return table


#: Zero-based indices of arguments that point to text; of arguments that point to a structure, an array or a single
#: object; of the pointers of functions that work on as many bytes as their third argument says (`explicit_bzero` as
#: its second one), and behind them the index of that argument.
TEXTS: Final = _table(_TEXTS)
OBJECTS: Final = _table(_OBJECTS)
BLOCKS: Final = {name: (*indices, 1 if name == "explicit_bzero" else 2) for name, indices in _table(_BLOCKS).items()}


def base_name(name: str) -> str:
    """The function that a fortified or versioned one stands for: "strcpy" of "__strcpy_chk". All of them keep the
    position of their pointers.
    """
    for prefix in ("__isoc99_", "__isoc23_"):
        if name.startswith(prefix):
            return name[len(prefix) :]
    if name.startswith("__") and name.endswith("_chk"):
        return name[2:-4]
    return name

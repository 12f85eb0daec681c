"""What a module of one architecture offers to the search over a file's functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

from .constants import NO_TEXTS, Texts

__all__ = ["Body", "Decoder", "FrameUse", "NameOf"]

#: The name of the function at an address, or of the import that the PLT stub or GOT slot there leads to; else empty.
NameOf = Callable[[int], str]


class Body(NamedTuple):
    """The code of one function.

    Parameters
    ----------
    address: of its first byte; in object files the offset in its section.
    data: its bytes.
    symbols: object files: the symbol that each relocation names, by the address of the field it changes.
    texts: the constant texts that it may refer to.
    entered: callers enter it at its first byte; not so code that was split off a function.
    """

    address: int
    data: bytes
    symbols: Mapping[int, str]
    texts: Texts = NO_TEXTS
    entered: bool = True


class FrameUse(NamedTuple):
    """What one function does with its stack frame.

    Parameters
    ----------
    canary: it loads the canary or calls the function that ends the program over it.
    array: why it needs a canary, as a phrase: "passes the address of a local to strcpy()"; empty where nothing proves
    it. That is proof of a violation where there is no canary, so it must never be said of a function that
    -fstack-protector-strong leaves alone.
    doubtful: it takes an address in its frame for something that is neither proof nor certainly harmless.
    probed: it touches the pages of its frame while it allocates it.
    unprobed: the largest number of bytes that it allocates at once without touching them, where that is a page or more;
    else 0.
    effort: bytes that were disassembled to tell; the search stops when it was enough for one file.
    unclear: it allocates so much, or a size made at run time, and whether that had to be touched cannot be told.
    """

    canary: bool
    array: str = ""
    doubtful: bool = False
    probed: bool = False
    unprobed: int = 0
    effort: int = 0
    unclear: bool = False


class Decoder(Protocol):
    """The knowledge of one architecture. `frame_use` and `calls` are called for thousands of functions: they look for
    the few byte patterns that matter first and disassemble only where one of them is there.
    """

    def frame_use(self, body: Body, name_of: NameOf) -> FrameUse:
        """What the function does with its frame."""

    def returns(self, body: Body, name_of: NameOf) -> bool:
        """Whether it may return; clang places no canary in a function that never does, whatever it holds."""

    def calls(self, body: Body, name_of: NameOf, wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
        """The callee's name, and what the call's arguments tell, as in `facts.LibraryCall`.

        `wanted` says whether a name matters.
        """

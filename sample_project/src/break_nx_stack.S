/* BREAK=nx-stack: assembly that forgets to say that it needs no executable stack.
 *
 * GNU ld takes a missing .note.GNU-stack section for "needs one" on x86 and ARM. Where it does not, the
 * request has to be made in so many words for the break to be one.
 */
#ifdef __CET__
#include <cet.h> /* branch protection stays: without its note the linker would drop it for the whole file */
#endif

        .section .rodata
        .globl  silence
silence:                        /* a PCMU frame's worth of silence */
        .fill   160, 1, 0xff

#if !defined(__i386__) && !defined(__x86_64__) && !defined(__arm__)
        .section .note.GNU-stack, "x", %progbits
#endif

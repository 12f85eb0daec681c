/* BREAK=nx-stack: assembly that forgets to say that it needs no executable stack.
 *
 * GNU ld takes a missing .note.GNU-stack section for "needs one" on x86 and ARM. Where it does not, the
 * request has to be made in so many words for the break to be one.
 */
#ifdef __CET__
#include <cet.h> /* branch protection stays: without its note the linker would drop it for the whole file */
#endif

        .section .rodata
        .hidden noise_gate_silence
        .globl  noise_gate_silence
noise_gate_silence:             /* 20 ms of silence */
        .fill   320, 1, 0

#if !defined(__i386__) && !defined(__x86_64__) && !defined(__arm__)
        .section .note.GNU-stack, "x", %progbits
#endif

/* BREAK=rwx-segments: room for generated code in a section that is writable and executable at once. */

extern unsigned char generated_code[64];

/* In assembly, because no attribute of C can ask for such a section. */
__asm__(".pushsection .generated_code, \"awx\", %progbits\n"
        ".balign 16\n"
        ".globl generated_code\n"
        ".type generated_code, %object\n"
        ".size generated_code, 64\n"
        "generated_code:\n"
        ".zero 64\n"
        ".popsection");

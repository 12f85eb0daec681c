"""Facts in, verdicts out: one module per mitigation. No I/O, no pytest, no ELF library."""

"""What the machine code says, function by function: one module per architecture, and the search over them."""

"""What an ELF file says: bytes in, frozen facts out. The only stage that knows the file format."""

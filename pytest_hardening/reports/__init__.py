"""Reports in, text out: one pure renderer per file."""

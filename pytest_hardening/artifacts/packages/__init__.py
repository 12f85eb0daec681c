"""Packages and container images: opened with limits, their ELF files and static archives copied to a private folder."""

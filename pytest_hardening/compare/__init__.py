"""Two builds in, what was lost, gained, added and removed out: pure functions on reports, no file is read here."""

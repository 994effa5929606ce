"""Data sets by name or from files, as integer input counts."""

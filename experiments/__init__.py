"""Comparisons, verdicts, studies and the command line."""

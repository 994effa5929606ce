"""Conversion, its diagnosis and its exports."""

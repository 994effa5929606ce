"""Neuromorphic chips, one TOML file each."""

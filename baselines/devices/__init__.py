"""Conventional machines, one TOML file each."""

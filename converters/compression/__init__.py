"""Smaller forms of a trained network: fewer weights, channels, values and bits, tuned on training items."""

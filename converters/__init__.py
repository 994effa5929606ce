"""Trained networks to integer references to spiking networks."""

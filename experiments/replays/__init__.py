"""Published measurements, and the models held against them."""

"""Activity of networks that was published with measurements of spiking chips."""

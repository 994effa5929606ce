"""Published measurements in the format of ``neuro validate --cases``."""

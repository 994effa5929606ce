"""Where the time goes; run with ``make bench``."""

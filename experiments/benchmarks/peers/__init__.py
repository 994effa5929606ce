"""The engine side by side with other simulators; run with ``make bench-peers``."""

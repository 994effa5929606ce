"""Networks given by their shapes alone."""

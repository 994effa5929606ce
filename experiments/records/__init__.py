"""One run on disk: an HDF5 file that tables and figures are redrawn from."""

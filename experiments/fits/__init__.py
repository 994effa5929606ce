"""What was fitted on the published measurements, and how."""

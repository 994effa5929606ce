"""Networks on chips: how full each core is, and a drawing."""

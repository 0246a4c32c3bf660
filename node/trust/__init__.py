"""Who did what, told to a collector, and what a stranger could reach."""

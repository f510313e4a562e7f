"""The encrypted mesh between the machines."""

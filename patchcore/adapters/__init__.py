"""One package for each outside service. Adapters never import one another."""

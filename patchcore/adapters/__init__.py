"""One outside service a module. Adapters never import one another."""

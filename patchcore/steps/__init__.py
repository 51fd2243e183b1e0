"""The DVC stages: each module is a function from files to files."""

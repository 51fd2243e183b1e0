"""Data-set versions: which images a category has, and in which order they arrived."""

"""`patchcore demo`: the first weeks of a memory bank on real images."""

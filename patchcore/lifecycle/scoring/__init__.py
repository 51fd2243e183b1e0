"""Batches: received, scored, recorded, shown; decided otherwise, scored again, explained."""

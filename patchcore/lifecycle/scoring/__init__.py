"""Score batches, override decisions, replay recorded batches, and explain scores."""

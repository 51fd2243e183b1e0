"""Pictures of what a memory bank found."""

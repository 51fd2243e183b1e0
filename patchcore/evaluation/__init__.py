"""How good a memory bank is, and whether it may go to production."""

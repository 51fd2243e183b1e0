"""The revisions, one module each, numbered in their order."""

"""Versions of data, code and parameters: DVC and git."""

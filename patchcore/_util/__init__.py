"""Helpers for every layer: files written in one step, ordered threads, progress bars, lazy names, models."""

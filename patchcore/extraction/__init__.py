"""From pixels to patch features."""

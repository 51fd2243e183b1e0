"""Workspaces: making one, taking in a new category, and bringing a workspace of an earlier version up to date."""

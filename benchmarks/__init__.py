"""Figures of this library and of other libraries, compared in one run. See README.md in this folder."""

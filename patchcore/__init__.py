"""PatchCore for industrial visual inspection: memory banks, their lifecycle and their audit.

Importing this package does nothing but define names; heavy libraries are imported where they are used.
"""

__version__ = "0.1.0"

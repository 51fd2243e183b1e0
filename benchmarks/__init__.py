"""Our figures beside the peers', each from one run. See README.md in this folder."""

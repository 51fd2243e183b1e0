"""What computes a network: torch or OpenVINO, behind one protocol."""

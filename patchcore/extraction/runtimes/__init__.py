"""The runtimes that compute a network: torch and OpenVINO, behind one protocol."""

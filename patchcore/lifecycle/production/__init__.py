"""From a bank that was built to the one that scores: registered, judged, promoted, followed by the registry."""

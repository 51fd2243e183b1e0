"""New normal images on their way in, normal images on their way out, and when a retrain is due."""

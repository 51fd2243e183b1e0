"""Normal images that are taken in or withdrawn, and when a retrain is due."""

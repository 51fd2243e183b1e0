"""Pictures: anomaly maps over images, contact sheets of batches, explanations of scores."""

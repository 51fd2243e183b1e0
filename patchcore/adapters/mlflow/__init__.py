"""The registry of bank versions: MLflow."""

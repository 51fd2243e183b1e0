"""Production: bank versions are registered, judged by the gate, promoted or rolled back, and MLflow follows."""

"""Prefect flows: ingest, retrain, promote, roll back, score, and how they are served."""

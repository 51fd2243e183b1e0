"""What happens to data sets, banks and batches over the years: plain functions that join steps and adapters."""

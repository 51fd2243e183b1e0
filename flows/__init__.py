"""The stories of a bank's life as Prefect flows, and the command line that tells them."""

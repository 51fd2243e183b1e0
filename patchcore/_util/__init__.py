"""What every layer needs: files that are written in one step, threads that keep an order, progress."""

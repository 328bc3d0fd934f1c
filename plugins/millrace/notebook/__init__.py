"""What a notebook's author touches: `open_run()` and what hangs off the run."""

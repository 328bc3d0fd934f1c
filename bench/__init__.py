"""One script per figure. Each prints what it compares, in one run."""

"""Training loops, one algorithm per file, each read from top to bottom."""

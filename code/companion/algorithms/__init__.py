"""The training loops of both papers, one per file, read from top to bottom, and what they share."""

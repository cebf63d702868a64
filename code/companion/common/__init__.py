"""What several studies need: files written whole or not at all, jobs, settings, readers, the look of figures."""

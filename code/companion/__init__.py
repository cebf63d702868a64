"""The reproduction of both papers: a folder per study. It imports the library otgrad and is never imported by it."""

"""Variants of Algorithm 1 that are not the paper's: what they add, and nothing of what they share with it."""

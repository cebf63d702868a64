"""Judging samples of images against images held out: transport costs, features of a classifier, pixels."""

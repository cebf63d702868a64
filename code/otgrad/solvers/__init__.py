"""Solve the semi-dual: stochastic (ASGD), exact on a pool, certified on a fixed source; and the estimator."""

"""Starts: the best linear model of each kind, in closed form, as functions of arrays."""

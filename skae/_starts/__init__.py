"""Initialisation: the best linear model of each kind, in closed form, from arrays."""

"""Contracts: what every block owes to the others, as test classes to inherit."""

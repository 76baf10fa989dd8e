"""Existing outputs proved against their sources: pairs, samples, elements, and what is missing or too much."""

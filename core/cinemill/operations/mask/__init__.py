"""Pixels that are blackened: where rectangles come from, samples and JPEG coefficients, and the review by people."""

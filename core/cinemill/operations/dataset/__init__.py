"""Clips for training from archives: cut by time from 2D regions, scaled to true proportions, split by patient, published as a whole."""

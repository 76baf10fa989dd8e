"""Clips for training out of archives: cut by time from regions that hold 2D, scaled truly, split by patient, published as a whole."""

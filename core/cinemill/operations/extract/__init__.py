"""Frames out of a cine: what can be asked for, how it is laid out, and the formats it is written in."""

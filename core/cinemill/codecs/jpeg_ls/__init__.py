"""JPEG-LS (ITU-T T.87): by cinemill's own kernels, and by CharLS."""

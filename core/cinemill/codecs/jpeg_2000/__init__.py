"""JPEG 2000 (ITU-T T.800) and HTJ2K (T.814): by cinemill's own kernels, OpenJPEG and OpenJPH."""

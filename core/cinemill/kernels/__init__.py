"""Compiled loops over samples and bytes: numba bodies only, no I/O, no DICOM."""

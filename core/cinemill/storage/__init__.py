"""Bytes in and out, without DICOM: what is opened, kept, written, synced and named, and where trees lie."""

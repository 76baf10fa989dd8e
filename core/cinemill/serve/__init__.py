"""A tree as a DICOMweb origin (PS3.18): searched, fetched frame by frame, and looked at; never changed."""

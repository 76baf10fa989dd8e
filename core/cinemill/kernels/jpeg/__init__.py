"""JPEG (ITU-T T.81): decoding of the sequential and the lossless process, and the check of entropy-coded data of the others."""

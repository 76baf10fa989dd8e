"""The kernels of the HT cleanup coder (ITU-T T.814): code-blocks of JPEG 2000, coded fast."""

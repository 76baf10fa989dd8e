"""JPEG (ITU-T T.81): with DCT and lossless by cinemill's own kernels, libjpeg-turbo, and second opinions of both."""

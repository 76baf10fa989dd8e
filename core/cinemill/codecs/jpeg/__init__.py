"""JPEG (ITU-T T.81): with DCT by libjpeg-turbo, lossless by cinemill's own kernel, second opinions of both."""

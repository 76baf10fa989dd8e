"""JPEG 2000 Part 1 (ITU-T T.800), lossless: wavelet, coding passes, MQ coder and packets, both ways."""

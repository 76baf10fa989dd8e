"""JPEG-LS (ITU-T T.87): frames coded one sample after the other, or one frame in each SIMD lane."""

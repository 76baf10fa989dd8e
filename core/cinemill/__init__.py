"""Lossless transcoding and frame extraction for ultrasound cine archives."""

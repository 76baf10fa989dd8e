"""What a run of `transcode` would take and save, from all headers, and some frames that go through the real encoders."""

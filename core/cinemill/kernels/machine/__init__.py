"""What every kernel rests on: numba's configuration, memory, bits, SIMD lanes, and the processor's own instructions."""

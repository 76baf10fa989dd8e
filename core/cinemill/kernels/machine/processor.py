"""Which processor this is, and which others kernels can be compiled for, told without loading the compiler."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import xxhash

_V3 = (
    "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3"  # x86-64-v2
    " avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
)
_V4 = f"{_V3} avx512f avx512bw avx512cd avx512dq avx512vl"
_CRYPTO = "aes pclmulqdq adx rdrand rdseed fsgsbase clflushopt xsaveopt xsavec xsaves sha_ni"
_ZEN_3 = f"{_CRYPTO} clwb clzero rdpid sse4a vaes vpclmulqdq"
_VECTOR_BYTES = (
    "avx512ifma avx512vbmi avx512_vbmi2 avx512_vnni avx512_bitalg avx512_vpopcntdq gfni vaes vpclmulqdq"
)
_KINDS = {
    "znver5": f"{_V4} {_ZEN_3} {_VECTOR_BYTES} avx512_bf16 avx512_vp2intersect avx_vnni movdiri movdir64b",
    "znver4": f"{_V4} {_ZEN_3} {_VECTOR_BYTES} avx512_bf16",
    "icelake-server": f"{_V4} {_CRYPTO} {_VECTOR_BYTES} clwb rdpid",
    "x86-64-v4": _V4,
    "znver3": f"{_V3} {_ZEN_3}",
    "x86-64-v3": _V3,
}
KINDS = {name: frozenset(flags.split()) for name, flags in _KINDS.items()}
"""Kinds of processors by LLVM's names, the best first, and what they have, in the kernel's words (/proc/cpuinfo)."""


class Processor(NamedTuple):
    """What is known of a processor: its flags in the words of Linux, or those of LLVM where that is another system."""

    architecture: str = ""
    vendor: str = ""
    family: str = ""
    model: str = ""
    flags: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """A name for processors that run each other's code."""
        flags = xxhash.xxh3_64_hexdigest(" ".join(sorted(self.flags)).encode())[:8]
        return "-".join(filter(None, (self.architecture, self.vendor, self.family, self.model, flags)))

    @property
    def kinds(self) -> list[str]:
        """The kinds whose code this processor runs, the best first."""
        return [
            name for name, flags in KINDS.items() if self.architecture == "x86_64" and flags <= self.flags
        ]


@cache
def this() -> Processor:
    """Read what processor this is."""
    if sys.platform != "linux":
        import platform

        import llvmlite.binding as llvm  # numba is imported there anyway

        flags = frozenset(name for name, here in llvm.get_host_cpu_features().items() if here)
        return Processor(platform.machine(), model=llvm.get_host_cpu_name(), flags=flags)
    with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
        first = file.read(1 << 14).partition("\n\n")[0]
    fields = dict(line.partition(":")[::2] for line in first.splitlines())
    named = {name.strip(): text.strip() for name, text in fields.items()}
    return Processor(
        os.uname().machine,
        named.get("vendor_id") or named.get("CPU implementer", ""),
        named.get("cpu family") or named.get("CPU variant", ""),
        named.get("model") or named.get("CPU part", ""),
        frozenset((named.get("flags") or named.get("Features", "")).split()),
    )


compiled_for: list[str] = []
"""The kind of processor to compile for, if it is not this one."""


def has(flag: str) -> bool:
    """Whether the processor that kernels are compiled for has some instructions, in /proc/cpuinfo's words."""
    return flag in (KINDS[compiled_for[0]] if compiled_for else this().flags)


def chosen() -> bool:
    """Whether the user has numba compile for a certain processor: then it is numba that calls kernels, too."""
    return any(os.environ.get(f"NUMBA_CPU_{name}") for name in ("NAME", "FEATURES"))

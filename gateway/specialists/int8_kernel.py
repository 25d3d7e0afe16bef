"""The CPU's instructions for int8 products, as far as an encoder's numbers depend on them."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
_X86_KERNELS = {"avx512_vnni": "avx512", "avx_vnni": "avx2"}
"""Flags of Linux by the name of the kernel, the preferred first. Both sum in int32, exactly."""


def find_int8_kernel(cpu_info: Path = _CPU_INFO, machine: str | None = None) -> str:
    """Return a short name of the int8 kernel that onnxruntime uses here; empty if it is not exact.

    x86 without VNNI multiplies pairs into int16, and large sums are cut off there. `machine` is
    that of `platform.machine()`.
    """
    if (machine or platform.machine()) in ("aarch64", "arm64"):
        return "neon"
    try:
        lines = cpu_info.read_text().splitlines()
    except OSError:
        return ""
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
    return next((kernel for flag, kernel in _X86_KERNELS.items() if flag in flags), "")


def name_rounding(kernel: str) -> str:
    """Return what int8 numbers depend on besides a model: the `kernel`, and onnxruntime's minor version.

    Between 1.28 and 1.32 a head's scores differ by up to 0.04, between 1.30 and 1.32 not in one bit.
    """
    # Not from the module, whose import takes 0.1 s.
    major, minor = version("onnxruntime").split(".")[:2]
    return f"{kernel}-ort{major}.{minor}"

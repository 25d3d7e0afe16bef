from __future__ import annotations

from pathlib import Path

import pytest

from gateway.specialists import int8_kernel
from gateway.specialists.int8_kernel import find_int8_kernel, name_rounding


@pytest.mark.parametrize(
    ("flags", "kernel"),
    [
        ("fpu avx2 avx512f avx512_vnni avx_vnni", "avx512"),
        ("fpu avx2 avx_vnni", "avx2"),
        ("fpu avx2 avx512f", ""),
    ],
)
def test_x86_is_exact_with_vnni_only(tmp_path: Path, flags: str, kernel: str) -> None:
    """Without it sums of two products are cut off at 16 bits, and vectors lose their meaning."""
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")

    assert find_int8_kernel(cpu_info, "x86_64") == kernel


def test_arm_needs_no_flag(tmp_path: Path) -> None:
    assert find_int8_kernel(tmp_path / "none", "arm64") == "neon"


def test_an_unknown_machine_has_no_exact_kernel(tmp_path: Path) -> None:
    assert find_int8_kernel(tmp_path / "none", "x86_64") == ""


def test_another_minor_version_of_onnxruntime_rounds_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for version in ("1.30.0", "1.30.1", "1.32.0.dev1"):
        monkeypatch.setattr(int8_kernel, "version", lambda _, version=version: version)
        names.append(name_rounding("neon"))

    assert names == ["neon-ort1.30", "neon-ort1.30", "neon-ort1.32"]

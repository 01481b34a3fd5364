"""What a built package is called: by its name an installer tells where the compiled part in it runs."""

from __future__ import annotations

import runpy
import sysconfig
from pathlib import Path

import pytest

from egress_watch import fast

HOOK = runpy.run_path(str(Path(__file__).parents[1] / "egress_watch" / "data" / "unpack.py"))
LIBRARY = Path(fast.__file__).with_name("libfast.so")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\x7fELF\0GLIBC_2.2.5\0GLIBC_2.14\0", "manylinux_2_17_aarch64"),
        (b"\x7fELF\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_2.4\0", "manylinux_2_34_aarch64"),
        (b"\x7fELF\0memcpy\0", "linux_aarch64"),
    ],
)
def test_a_wheel_is_named_after_the_c_library_it_needs(tmp_path, monkeypatch, content, name):
    """The newest version that a symbol asks of the GNU C library is in the name, at least 2.17; of others none is."""
    monkeypatch.setattr(sysconfig, "get_platform", lambda: "linux-aarch64")
    library = tmp_path / "libfast.so"
    library.write_bytes(content)
    assert HOOK["platform_tag"](library) == name


@pytest.mark.skipif(not LIBRARY.exists(), reason="the accelerator is not built")
def test_the_accelerator_asks_little_of_the_c_library():
    """What is compiled here today runs with every C library since 2012, unless this one is not the GNU one."""
    assert HOOK["platform_tag"](LIBRARY).startswith(("manylinux_2_17_", "linux_"))

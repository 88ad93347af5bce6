"""The loop in C of `loop.c`, where there is a compiler: what any language may hope for, beside what Python takes."""

import ctypes
import hashlib
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

from bench.captures import CACHE

SOURCE = Path(__file__).with_name("loop.c")


@cache
def loop() -> Callable[[bytes], int] | None:
    """Reads Binance's frames, each ended by a newline, and says how many told of a symbol; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    source = SOURCE.read_bytes()
    built = CACHE / f"loop-{hashlib.sha256(source).hexdigest()[:8]}.so"
    built.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", built, SOURCE], check=True)  # noqa: S603
    found = ctypes.CDLL(str(built)).loop
    found.argtypes, found.restype = [ctypes.c_char_p], ctypes.c_long
    read: Callable[[bytes], int] = found
    return read

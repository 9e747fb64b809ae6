"""One compressed clock for the campaign, its servers and every process of the program. Changes no clock of the machine.

It stands in a file of five numbers that all of them have mapped, and runs `speed` times as fast as the machine's monotonic clock.
Between two jobs, while nobody runs, it can be put forward. Its wall clock can be made to jump for the program alone: the servers go
by the time that no jump touches.
"""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path

FILE = "D4C_WEEKS_CLOCK"
"""The environment variable that names the file."""

_NUMBERS = struct.Struct("=ddddd")  # monotonic at the origin, the machine's clock then, speed, wall clock - monotonic, jump
_ONE = struct.Struct("=d")
_FIRST_S = 1000.0  # no clock of a machine that has been up for a while shows 0
_machine = time.monotonic  # before `site` puts another one in its place


class Clock:
    """Seconds of the campaign, if nothing else is said."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._file = mmap.mmap(file.fileno(), _NUMBERS.size)

    @classmethod
    def make(cls, path: Path, speed: float) -> Clock:
        """A clock that starts at the machine's date."""
        path.write_bytes(_NUMBERS.pack(_FIRST_S, _machine(), speed, time.time() - _FIRST_S, 0.0))
        return cls(path)

    @property
    def speed(self) -> float:
        return self._numbers()[2]

    def monotonic(self) -> float:
        origin, machine, speed, _, _ = self._numbers()
        return origin + (_machine() - machine) * speed

    def true_time(self) -> float:
        """Unix time, as the servers have it."""
        return self.monotonic() + self._numbers()[3]

    def time(self) -> float:
        """Unix time, as the program has it."""
        return self.true_time() + self._numbers()[4]

    def monotonic_at(self, unix: float) -> float:
        """What `monotonic` shows when `true_time` shows `unix`."""
        return unix - self._numbers()[3]

    def put_forward(self, seconds: float) -> None:
        """While nobody else looks at it."""
        origin, *others = self._numbers()
        self._file[:] = _NUMBERS.pack(origin + seconds, *others)

    def jump(self, seconds: float) -> None:
        """From now on the program's wall clock is wrong by so much; 0 puts it right. At any time: it is one aligned word."""
        _ONE.pack_into(self._file, 4 * _ONE.size, seconds)

    def _numbers(self) -> tuple[float, float, float, float, float]:
        numbers: tuple[float, float, float, float, float] = _NUMBERS.unpack_from(self._file)
        return numbers

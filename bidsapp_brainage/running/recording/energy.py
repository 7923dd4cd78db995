"""Energy of the processors, where their counters (RAPL) may be read."""

from __future__ import annotations

import threading
from pathlib import Path

_POWERCAP = Path("/sys/class/powercap")
_MICRO = 1e-6
_EVERY_S = 60.0


class EnergyMeter:
    """Adds up the energy counters of processors and memory of this machine.

    Linux shows them below ``/sys/class/powercap``, since 2020 to the administrator only. They start
    again at zero every few minutes to hours, so a thread reads them every minute. They count
    everything that runs on the machine, and no GPU.

    Parameters
    ----------
    root : Path
        Folder of the counters.
    """

    def __init__(self, root: Path = _POWERCAP) -> None:
        self._root, self._sum = root, 0
        self._lock = threading.Lock()
        self._last = self._read()
        if self._last:
            threading.Thread(target=self._watch, daemon=True).start()

    def sample(self) -> None:
        """Read the counters once more."""
        with self._lock:
            now = self._read()
            for domain, value in now.items():
                grown = value - self._last.get(domain, value)
                self._sum += grown if grown >= 0 else grown + _number(domain, "max_energy_range_uj")
            self._last |= now

    def joules(self) -> float | None:
        """Energy since the start; None where nothing could be read."""
        self.sample()
        return round(self._sum * _MICRO, 1) if self._last else None

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(_EVERY_S):
            self.sample()

    def _read(self) -> dict[Path, int]:
        """Counters of packages and of memory; parts of a package are in it already."""
        values = {}
        for domain in sorted(self._root.glob("intel-rapl:*")):
            name = _text(domain / "name")
            if name.startswith("package") or name == "dram":
                value = _text(domain / "energy_uj")
                if value.isdigit():
                    values[domain] = int(value)
        return values


def _number(domain: Path, name: str) -> int:
    text = _text(domain / name)
    return int(text) if text.isdigit() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""

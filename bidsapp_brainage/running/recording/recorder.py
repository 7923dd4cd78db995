"""Writes the record of a run into the log folders: settings at its start, the rest at its end."""

from __future__ import annotations

import logging
import re
import resource
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp_brainage import __version__, io
from bidsapp_brainage.bids.input.messages import ManyScans
from bidsapp_brainage.bids.run_records import CONFIGURATION, record_name, run_folder
from bidsapp_brainage.configuration import to_toml
from bidsapp_brainage.running.recording.carbon import CarbonTracker
from bidsapp_brainage.running.recording.energy import EnergyMeter

if TYPE_CHECKING:
    from bidsapp_brainage.running.outcome import Failure
    from bidsapp_brainage.settings import Settings

LOGGER = logging.getLogger("bidsapp_brainage")
#: What results depend on.
_LIBRARIES = ("nipype", "niworkflows", "nibabel", "numpy", "SimpleITK", "picsl-greedy", "torch")


class Recorder:
    """Keeps what one level of a run came to, for the pages and for whoever reads the logs.

    The run as a whole is told below ``logs``, the part of a participant in its own log folder, so
    that one participant can be shared without the others.

    Parameters
    ----------
    settings : Settings
    level : str
        ``participant`` or ``group``.
    """

    def __init__(self, settings: Settings, level: str) -> None:
        self._settings, self._level = settings, level
        self._started, self._versions = io.now(), versions()
        self._energy = EnergyMeter()
        execution = settings.execution
        self._carbon = CarbonTracker(execution.country_code) if execution.track_carbon else None

    def start(self, scans: Sequence[str], subject: str = "") -> None:
        """Write the settings and when the run began, so that one that breaks off is known, too.

        Parameters
        ----------
        scans : sequence of str
            Names of what is to be processed.
        subject : str
            Label without ``sub-`` of the participant whose scans they are; empty for the run as a
            whole.
        """
        io.write_text(self._folder(subject) / CONFIGURATION, to_toml(self._settings))
        self._write(subject, self._beginning(scans))

    def finish(
        self,
        scans: Sequence[str],
        failures: Sequence[Failure] = (),
        warnings: Sequence[str] = (),
        subject: str = "",
    ) -> None:
        """Write what became of those scans."""
        content = self._beginning(scans) | {
            "Ended": io.now(),
            "Warnings": list(warnings),
            "Failures": [
                {
                    "Scan": each.scan,
                    "Step": each.step,
                    "Reason": each.reason,
                    "Error": each.error,
                }
                for each in failures
            ],
        }
        self._write(subject, content if subject else content | self._resources())

    def start_all(self, scans: Mapping[str, Sequence[str]]) -> None:
        """Start the run as a whole and the part of each participant, by label."""
        self.start(_together(scans))
        self.start_people(scans)

    def start_people(self, scans: Mapping[str, Sequence[str]]) -> None:
        """Start the part of each participant."""
        for subject, own in scans.items():
            self.start(own, subject)

    def finish_all(
        self,
        scans: Mapping[str, Sequence[str]],
        failures: Sequence[Failure] = (),
        warnings: Sequence[str] = (),
    ) -> None:
        """Finish all."""
        self.finish_people(scans, failures, warnings)
        self.finish(_together(scans), failures, warnings)

    def finish_people(
        self,
        scans: Mapping[str, Sequence[str]],
        failures: Sequence[Failure] = (),
        warnings: Sequence[str] = (),
    ) -> None:
        """Finish the part of each participant, told of their own failures and warnings only."""
        for subject, own in scans.items():
            named = re.compile(rf"\bsub-{re.escape(subject)}(?![a-zA-Z0-9+])")
            self.finish(
                own,
                [failure for failure in failures if named.match(failure.scan)],
                _concerning(named, warnings),
                subject,
            )

    def _beginning(self, scans: Sequence[str]) -> dict[str, object]:
        return {"Started": self._started, "Scans": list(scans), "Versions": self._versions}

    def _resources(self) -> dict[str, object]:
        """What the run as a whole was given and used."""
        given = self._settings.resources
        return {
            "Processors": given.nprocs,
            "MemoryGB": given.memory_gb,
            "MainProcessPeakMB": round(_peak_mb(), 1),
            "EnergyJ": self._energy.joules(),
        } | self._emissions()

    def _emissions(self) -> dict[str, object]:
        """What CodeCarbon estimates for the run, where it was asked."""
        if self._carbon is None:
            return {}
        found = self._carbon.finish()
        if not found:
            LOGGER.warning("CodeCarbon could not estimate the emissions of this run.")
            return {}
        LOGGER.info(
            "About %s kg of CO2 equivalents, from %s kWh.", found["CO2Kg"], found["EnergyKWh"]
        )
        return {"Emissions": found}

    def _folder(self, subject: str) -> Path:
        run_uuid = self._settings.execution.run_uuid or "run"
        return run_folder(self._settings.output_dir, run_uuid, subject)

    def _write(self, subject: str, content: Mapping[str, object]) -> None:
        io.write_json(self._folder(subject) / record_name(self._level), dict(content))


def versions() -> dict[str, str]:
    """Versions of the app and of the libraries that results depend on."""
    return {"bidsapp_brainage": __version__, **{name: _version(name) for name in _LIBRARIES}}


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "unknown"


def _concerning(participant: re.Pattern[str], messages: Sequence[str]) -> list[str]:
    """Messages that name a participant, without the others that they name."""
    own: list[str] = []
    for message in messages:
        if isinstance(message, ManyScans):
            named = [scan for scan in message.scans if participant.match(scan)]
            own += [message.naming(named)] if named else []
        elif participant.search(message):
            own.append(message)
    return own


def _together(scans: Mapping[str, Sequence[str]]) -> list[str]:
    return [scan for own in scans.values() for scan in own]


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1.024e-3

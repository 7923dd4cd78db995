"""All choices of one run, as one frozen value that is passed explicitly."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

SkullStrip = Literal["auto", "skip", "force"]
Explain = Literal["none", "occlusion"]
Level = Literal["minimal", "full"]
Baseline = Literal["background", "mean", "blur"]


@dataclass(frozen=True)
class Selection:
    """Which scans are processed. Labels carry no ``sub-``/``ses-``/``run-`` prefix."""

    participant_label: tuple[str, ...] = ()
    session_label: tuple[str, ...] = ()
    run_label: tuple[str, ...] = ()
    bids_filter_file: Path | None = None
    bids_database_dir: Path | None = None
    skip_bids_validation: bool = False
    derivatives: tuple[tuple[str, Path], ...] = ()  # (name, dataset root)
    age_column: str = "age"
    age_file: Path | None = None


@dataclass(frozen=True)
class Resources:
    """How much of the machine may be used."""

    nprocs: int = 1
    omp_nthreads: int = 1
    memory_gb: float | None = None
    low_mem: bool = False
    plugin_file: Path | None = None
    device: str = "auto"
    batch_size: int | None = None  # None: chosen by the device
    n_gpus: int = 1


@dataclass(frozen=True)
class Processing:
    """What is computed; these choices enter the configuration hash."""

    model: str = "sfcn2mm"
    models_dir: Path | None = None
    atlas: str = "BrainageDemo"
    atlases_dir: Path | None = None
    explain: Explain = "occlusion"
    level: Level = "full"
    occlusion_baseline: Baseline = "background"
    bias_correction: str = "model"  # none | model | file:PATH
    skull_strip: SkullStrip = "auto"
    output_spaces: tuple[str, ...] = ()
    random_seed: int = 20250101
    sloppy: bool = False


@dataclass(frozen=True)
class Execution:
    """How this invocation runs and reports."""

    work_dir: Path = Path("work")
    clean_workdir: bool = False
    config_file: Path | None = None
    stop_on_first_crash: bool = False
    dry_run: bool = False
    boilerplate_only: bool = False
    md_only_boilerplate: bool = False
    reports_only: bool = False
    write_graph: bool = False
    debug: bool = False
    verbose: int = 0
    run_uuid: str = ""
    command_line: str = ""  # with host paths already replaced by <bids_dir>, <output_dir>, ...


@dataclass(frozen=True)
class Settings:
    """Everything that one invocation of the app was told."""

    bids_dir: Path
    output_dir: Path
    analysis_level: tuple[str, ...]
    selection: Selection = field(default_factory=Selection)
    resources: Resources = field(default_factory=Resources)
    processing: Processing = field(default_factory=Processing)
    execution: Execution = field(default_factory=Execution)

    def configuration_hash(self) -> str:
        """First 8 hex digits of the SHA-256 of everything that changes results."""
        return configuration_hash(self.processing)


def configuration_hash(processing: Processing) -> str:
    """First 8 hex digits of the SHA-256 over the processing choices (paths by name only)."""
    facts: dict[str, Any] = dataclasses.asdict(processing)
    for key, value in facts.items():
        if isinstance(value, Path):
            facts[key] = value.name
    text = json.dumps(facts, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:8]

"""What explaining one scan by the model that comes with the app costs, part by part.

    python -m benchmarks.shipped

The scan is the MNI152 template, as that model sees it, with the embedded atlas and the app's usual
settings. Numbers are processor seconds of one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

import bidsapp_brainage
from bidsapp_brainage.atlas.tables import read_label_table
from bidsapp_brainage.demo.references import prepared_input
from bidsapp_brainage.explain.ensemble import Ensemble
from bidsapp_brainage.explain.methods import find
from bidsapp_brainage.explain.session import ExplanationInput, ExplanationSession
from bidsapp_brainage.imaging.transforms import apply_xfm
from bidsapp_brainage.model.cards import ModelCard, find_card
from bidsapp_brainage.model.intensity import background_value
from bidsapp_brainage.model.networks.regional import for_brain
from bidsapp_brainage.model.prediction import decoder
from bidsapp_brainage.model.uncertainty import left_right_axis
from bidsapp_brainage.model.weights.loading import load_members
from bidsapp_brainage.settings import Processing

from . import counts
from .measure import Progress, Row, gemm_rate, memory_mb, print_rows, write_results

RESULTS = Path(__file__).parent / "results" / "shipped.json"
BATCH = 4
STEPS = 5


class Scan:
    """One scan with its regions, from which networks and inputs are made."""

    def __init__(self, model: str) -> None:
        self.card: ModelCard = find_card(model)
        self.volume, self.regions = prepared_input(self.card)
        folder = Path(bidsapp_brainage.__file__).parent / "data" / "atlases"
        grid = nib.Nifti1Image(np.zeros(self.card.shape, np.uint8), self._affine())
        dseg = nib.load(folder / "brainagedemo_dseg.nii.gz")
        labels = apply_xfm(dseg, grid, np.eye(4), interpolation="nearest")
        self.labels = np.asarray(labels.dataobj).astype(np.int32)
        self.atlas = read_label_table(folder / "brainagedemo_dseg.tsv")

    def ensemble(self) -> Ensemble:
        """Load the networks and bind them to the brain."""
        members = for_brain(load_members(self.card), self.regions)
        return Ensemble(tuple(members), decoder(self.card))

    def session(self, ensemble: Ensemble) -> ExplanationSession:
        """What a participant run explains, with its usual settings."""
        usual = Processing()
        affine = self._affine()
        return ExplanationSession(
            ExplanationInput(
                ensemble,
                self.volume,
                self.labels,
                self.atlas,
                voxel_ml=float(abs(np.linalg.det(affine[:3, :3]))) / 1000,
                baselines=usual.occlusion_baseline,
                mask=self.regions > 0,
                background=background_value(self.card.input, self.volume),
                mirror_axis=left_right_axis(self.card.input),
                null_parcels=usual.null_parcels,
                seed=usual.random_seed,
            )
        )

    def _affine(self) -> np.ndarray:
        return np.asarray(self.card.input["affine"], dtype=float)


def timed(work: Callable[[], object]) -> float:
    """Processor seconds of a piece of work."""
    start = time.process_time()
    work()
    return time.process_time() - start


def part_rows(scan: Scan, ensemble: Ensemble) -> tuple[list[Row], float, ExplanationSession]:
    """Seconds of each part with networks that were read before, and those of the regions."""
    session = scan.session(ensemble)
    background, *others = session.inputs.baselines
    opened = timed(lambda: session.occluder)
    numbers = session.blocks.numbers
    parts = {
        "full pass": opened,
        "plan and occlude regions": timed(
            lambda: session.occluder.occlude(session.fill(), numbers("regions"))
        ),
        "regions": timed(lambda: session.occluder.occlude(session.fill(), numbers("regions"))),
        "plan and occlude groups": timed(
            lambda: session.occluder.occlude(session.fill(), numbers("groups"))
        ),
        "groups": timed(lambda: session.occluder.occlude(session.fill(), numbers("groups"))),
        "second baseline": timed(lambda: [session.region_effects(name) for name in others]),
        "mirrored image": timed(session.mirrored_effects),
        "growing null parcels": timed(lambda: session.nulls),
        "null parcels": timed(
            lambda: session.occlude_pieces(
                session.open(session.nulls.patches), session.nulls.patches
            )
        ),
    }
    rows = [Row(name, seconds, "CPU s") for name, seconds in parts.items()]
    return rows, parts["regions"], session


def pass_seconds(scan: Scan, ensemble: Ensemble) -> float:
    """A plain forward pass of all members for one volume, in a batch."""
    batch = torch.as_tensor(scan.volume.copy())[None, None].repeat(BATCH, 1, 1, 1, 1)

    def passes() -> None:
        with torch.inference_mode():
            for member in ensemble.members:
                member(batch)

    passes()
    return timed(passes) / BATCH


def floor_rows(ensemble: Ensemble, session: ExplanationSession) -> list[Row]:
    """Multiply-adds, and the time of a large matrix product with as many."""
    from bidsapp_brainage.explain.engine import OcclusionPlan

    (network,) = ensemble.networks(session.inputs.volume.shape)
    gmac, rate = network.multiply_adds() / 1e9, gemm_rate() / 1e9
    blocks = {name: session.blocks[name] for name in ("regions", "groups", "controls")}
    plans = {
        name: OcclusionPlan(network, patches)
        for name, patches in (blocks | {"nulls": session.nulls.patches}).items()
    }
    needed = counts.needed(plans["regions"], network) * gmac
    executed = {name: counts.executed(plan, network) * gmac for name, plan in plans.items()}
    # Regions with each baseline and mirrored, controls with each baseline, three full passes.
    n_baselines = len(session.inputs.baselines)
    everything = (
        (n_baselines + 1) * executed["regions"] + n_baselines * executed["controls"]
        + executed["groups"] + executed["nulls"] + 3 * gmac
    )  # fmt: skip
    return [
        Row("multiply-adds of one pass", gmac, "GMAC"),
        Row("multiply-adds of the regions, needed", needed, "GMAC"),
        Row("multiply-adds of the regions, executed", executed["regions"], "GMAC"),
        Row("multiply-adds of everything, executed", everything, "GMAC"),
        Row("a large matrix product", rate, "GMAC/s"),
        Row("floor of the regions", executed["regions"] / rate, "CPU s"),
        Row("floor of everything", everything / rate, "CPU s"),
    ]


def main() -> None:
    """Measure everything, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    progress, usual = Progress(STEPS), Processing()
    progress.step("the template as the model sees it")
    scan = Scan(usual.model)
    explain, before = find("occlusion"), memory_mb("VmRSS")
    progress.step("everything, from the files of the networks")
    cold = timed(lambda: explain(scan.session(scan.ensemble())))
    peak = memory_mb("VmHWM") - before
    progress.step("everything again, with networks that were read")
    ensemble = scan.ensemble()
    ensemble.networks(scan.volume.shape)
    warm = timed(lambda: explain(scan.session(ensemble)))
    progress.step("part by part")
    parts, regions, session = part_rows(scan, ensemble)
    progress.step(f"plain passes, {BATCH} volumes")
    one = pass_seconds(scan, ensemble)
    count = len(session.inputs.indices)
    rows = [
        Row(
            f"{len(ensemble.members)} members, {count} regions: everything, cold", cold, "CPU s", 3
        ),
        Row("everything, warm", warm, "CPU s", 3),
        *parts,
        Row("one plain pass of all members", one, "CPU s"),
        Row("regions against plain passes", count * one / regions, "x", 50, at_least=True),
        Row("memory beyond that before", peak, "MB"),
        *floor_rows(ensemble, session),
    ]
    print_rows(rows)
    write_results(options.out, rows)


if __name__ == "__main__":
    main()

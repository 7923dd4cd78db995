"""Columns that stand in several tables."""

from __future__ import annotations

from .baselines import BASELINES
from .cards import Column
from .flags import VERDICTS, meanings
from .levels import SIDES, level_meanings

PARTICIPANT_ID = Column("participant_id", "Participant", "Label of the participant with its prefix "
    "sub-.")  # fmt: skip
SESSION_ID = Column("session_id", "Session", "Label of the session with its prefix ses-; n/a if "
    "the dataset has no sessions.")  # fmt: skip
RUN_ID = Column("run_id", "Run", "Label of the run with its prefix run-; n/a if there is one T1w "
    "image per session.")  # fmt: skip
SCAN = Column("scan", "Scan", "Entities that name the scan, for example "
    "sub-01_ses-1_run-1.")  # fmt: skip
MODEL = Column("model", "Model", "Name of the network, as on its model card.")
TARGET = Column("target", "Target", "What is predicted: age, or the name of another head of the "
    "model card, which is a column of participants.tsv.")  # fmt: skip
CLASS = Column("class", "Class", "Name of the class; n/a of numbers.")
MODALITY = Column("modality", "Modality", "What the model sees: modality, and the part of the "
    "brain where it is not the whole (T1w, T2w, T1wCortex ...); all: every one of "
    "them.")  # fmt: skip
INDEX = Column("index", "Label", "Integer label of the region in the atlas.")
NAME = Column("name", "Region", "Name of the region in the atlas.")
ABBREVIATION = Column("abbreviation", "Abbreviation", "Short name of the region.")
COLOR = Column("color", "Colour", "Colour of the region for display, #rrggbb.")
HEMISPHERE = Column("hemisphere", "Hemisphere", "Side of the brain on which the region lies.",
    levels={**SIDES, "B": "both or midline"})  # fmt: skip
LOBE = Column("lobe", "Lobe", "Lobe or larger division that the region belongs to, from the table "
    "of the atlas.")  # fmt: skip
NETWORK = Column("network", "Network", "Functional network that the region belongs to, from the "
    "table of the atlas.")  # fmt: skip
GYRUS = Column("gyrus", "Gyrus", "Gyrus that the region belongs to; only where the table of the "
    "atlas has it.")  # fmt: skip
COMPARTMENT = Column("compartment", "Tissue compartment",
    "Kind of tissue that the region is of; only where the table of the atlas has it.")  # fmt: skip
N_VOXELS = Column("n_voxels", "Voxels", "Number of voxels of the region on the grid on which it "
    "was counted; 0 if the region is empty there.", minimum=0)  # fmt: skip
VOLUME_MM3 = Column("volume_mm3", "Volume", "Volume of these voxels.", units="mm^3",
    minimum=0)  # fmt: skip
BASELINE = Column("baseline", "Fill of the occluded region", "What the voxels of the region were "
    "replaced with.", levels={card.key: card.level for card in BASELINES})  # fmt: skip
CI95_LOWER = Column("ci95_lower", "Lower end of the 95 % interval", "2.5 % point of the "
    "interval.")  # fmt: skip
CI95_UPPER = Column("ci95_upper", "Upper end of the 95 % interval", "97.5 % point of the "
    "interval.")  # fmt: skip
FLAGS = Column("flags", "Flags", "All reasons to doubt the result, joined by commas; none if "
    "nothing was found.", levels=meanings())  # fmt: skip
FLAG_REASONS = Column("flag_reasons", "Reasons of the flags", "What was found, one sentence for "
    "each of the flags in their order, joined by semicolons; n/a without flags.")  # fmt: skip
OOD_FLAG = Column("ood_flag", "Doubt flag", "First of the flags that the model raises without "
    "knowing the age; none if nothing was found.", levels=meanings(of_model=True))  # fmt: skip
VERDICT = Column("verdict", "Verdict", "Whether the predicted age can be used, from the flags, the "
    "quality checks and the interval; in the table of the group also from ratings and, where there "
    "is one, the calibration. Not of the contributions of regions.", levels=VERDICTS)  # fmt: skip
VERDICT_REASONS = Column("verdict_reasons", "Reasons of the verdict", "What speaks against the "
    "predicted age, the gravest first, joined by semicolons; n/a where nothing does.")  # fmt: skip
N_PARTICIPANTS = Column("n_participants", "Participants", "Number of participants that the value "
    "is computed from.", minimum=0)  # fmt: skip
N_SCANS = Column("n_scans", "Scans", "Number of scans that the value is computed from.",
    minimum=0)  # fmt: skip
RANK = Column("rank", "Rank", "1 for the region with the largest absolute contribution; empty "
    "regions have none.", minimum=1)  # fmt: skip

#: They mean the same in every table that says nothing else.
SHARED: tuple[Column, ...] = (
    PARTICIPANT_ID,
    SESSION_ID,
    RUN_ID,
    SCAN,
    MODEL,
    INDEX,
    NAME,
    ABBREVIATION,
    COLOR,
    HEMISPHERE,
    LOBE,
    NETWORK,
    GYRUS,
    COMPARTMENT,
    N_VOXELS,
    VOLUME_MM3,
    BASELINE,
    CI95_LOWER,
    CI95_UPPER,
    OOD_FLAG,
    N_PARTICIPANTS,
    N_SCANS,
    RANK,
)

LEVEL = Column("level", "Level", "What one row is about.", levels=level_meanings())
EXPLANATION_A = Column("explanation_a", "First explanation", "Name of an explanation: the method "
    "and, where it has one, the baseline, for example occlusion_background or "
    "ig_background.")  # fmt: skip
EXPLANATION_B = Column("explanation_b", "Second explanation", "Name of an explanation: the method "
    "and, where it has one, the baseline, for example occlusion_background or "
    "ig_background.")  # fmt: skip

#: Which scan.
IDENTITY = (PARTICIPANT_ID, SESSION_ID, RUN_ID, SCAN)
#: Which region of an atlas.
REGION = (INDEX, NAME, HEMISPHERE, LOBE, NETWORK)

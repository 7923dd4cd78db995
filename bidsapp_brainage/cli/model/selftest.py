"""Subcommands ``selftest`` and ``import`` of ``brainage-model``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp_brainage.cli.parser import add_option
from bidsapp_brainage.errors import ExitCode, UsageError
from bidsapp_brainage.settings import Processing, all_options

if TYPE_CHECKING:
    from bidsapp_brainage.demo.known_answers import Answer
    from bidsapp_brainage.model.cards import ModelCard


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommands."""
    _add_selftest(subparsers)
    parser = subparsers.add_parser(
        "import",
        help="put weight files that you downloaded where a card expects them",
        description="Files are recognised by their checksums, whatever their names are, and copied "
        "byte by byte; nothing is converted. A complete model then answers the quick self-test.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="weights, as published")
    parser.add_argument("--card", required=True, metavar="NAME", help="the model, or its card")
    parser.add_argument(
        "--accept-licence", action="store_true", help="accept a non-commercial licence"
    )
    parser.set_defaults(handler=import_model)
    add_option(parser, all_options()["models_dir"])


def _add_selftest(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "selftest",
        help="compare this installation's answers with known ones",
        description="Reference images are made, the whole app is run on them, and ages, intervals "
        "and top regions are compared with those on the model's card (some two minutes on two "
        "processors). A deviation is named with its likely causes.",
    )
    parser.add_argument(
        "name",
        nargs="?",
        default=Processing().model,
        metavar="NAME",
        help="of the model, or path of its card (default: %(default)s)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="only the network, on an input that is prepared"
    )
    parser.add_argument(
        "--record", action="store_true", help="write the answers into the card instead"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep images, results and reports")
    parser.set_defaults(handler=selftest)
    for option in ("models_dir", "device", "nprocs"):
        add_option(parser, all_options()[option])


def selftest(options: argparse.Namespace) -> int:
    """Answer for the references, and compare with the card or write into it."""
    from bidsapp_brainage.demo import known_answers, references
    from bidsapp_brainage.model.cards import find_card
    from bidsapp_brainage.model.device import resolve_device
    from bidsapp_brainage.model.specs import sees_raw_images
    from bidsapp_brainage.model.weights.files import verify_weights, weights_present
    from bidsapp_brainage.running.machine import available_cpus

    card = find_card(options.name, options.models_dir)
    if not weights_present(card):
        print(references.check_without_weights(card))
    verify_weights(card)
    if options.record and not card.main_head.quantity.is_age:
        raise UsageError(f"Known answers are ages, and {card.name} predicts none.")
    device, message = resolve_device(options.device or "auto")
    print(f"{card.name} {card.version}. {message}", flush=True)
    answers = {known_answers.PREPARED: references.prepared_answer(card, device)}
    # a model of raw images sees the prepared reference as it would see a file
    prepared = not sees_raw_images(card.input)
    if prepared and (options.record or (not options.quick and "selftest" in card.raw)):
        code, whole = _whole_answers(card, options)
        if code:
            return code
        answers |= whole
    present = known_answers.environment(card, device, options.nprocs or available_cpus())
    if options.record:
        print(f"Written into {known_answers.record(card, answers, present)}")
        return ExitCode.DONE
    return _report(card, answers, present)


def _whole_answers(card: ModelCard, options: argparse.Namespace) -> tuple[int, dict[str, Answer]]:
    """Run the app on the reference images; its exit code, and what it said."""
    from bidsapp_brainage.cli.run import main as run_app
    from bidsapp_brainage.demo import references

    with tempfile.TemporaryDirectory(prefix="brainage-selftest-") as scratch:
        folder = options.out or Path(scratch)
        bids = references.write_references(folder / "references")
        output = folder / "bidsapp_brainage"
        arguments = [str(bids), str(output), "participant", "--work-dir", str(folder / "work")]
        arguments += ["--model", options.name, *references.OPTIONS]
        for flag in ("models_dir", "device", "nprocs"):
            if (value := getattr(options, flag)) is not None:
                arguments += [f"--{flag.replace('_', '-')}", str(value)]
        code = run_app(arguments)
        return code, references.read_answers(output, card.name) if not code else {}


def _report(card: ModelCard, answers: dict[str, Answer], present: dict[str, str]) -> int:
    """Print every comparison, and the likely causes of what deviates."""
    from bidsapp_brainage.demo import known_answers

    expected = card.raw.get("selftest")
    if expected is None:
        quantity = card.main_head.quantity
        for name, answer in answers.items():
            print(f"  {name}: {quantity.noun} {answer.age:.2f} {quantity.unit}")
        print(
            f"{card.name}: its card holds no known answers, so there is nothing to compare with. "
            f"The weights are those of the card, the network runs and gives an answer."
        )
        return ExitCode.DONE
    compared = known_answers.compare(expected, answers)
    for one in compared:
        print(f"  {'ok      ' if one.agrees else 'DEVIATES'}  {one.reference}: {one.text}")
    deviating = list(dict.fromkeys(one.reference for one in compared if not one.agrees))
    if not deviating:
        print(f"{card.name}: all {len(compared)} answers are as recorded")
        return ExitCode.DONE
    print(f"{card.name}: deviates for {', '.join(deviating)}. Likely causes:")
    for cause in known_answers.likely_causes(expected["recorded_with"], present, deviating):
        print(f"  - {cause}")
    return ExitCode.DEVIATION


def import_model(options: argparse.Namespace) -> int:
    """Copy weights to their place, say what is there now, and ask a complete model."""
    from bidsapp_brainage.model.cards import fetched_folder, find_card
    from bidsapp_brainage.model.weights.importing import import_weights

    card = find_card(options.card, options.models_dir)
    print(f"{card.name}: licence: {card.licence}")
    done = import_weights(
        card,
        options.files,
        fetched_folder(options.models_dir),
        accept_licence=options.accept_licence,
    )
    for file, final in done.placed:
        print(f"{file} -> {final} (checksum as on the card)")
    if done.missing:
        print(f"{card.name}: still missing: {', '.join(done.missing)}")
        return ExitCode.DONE
    print(f"{card.name}: complete in {done.card.folder}")
    return selftest(
        argparse.Namespace(
            name=str(done.card.path), models_dir=None, device="cpu", nprocs=None,
            quick=True, record=False, out=None,
        )
    )  # fmt: skip

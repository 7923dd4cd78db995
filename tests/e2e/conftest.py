"""One tiny sloppy run of the whole app, in steps that the tests look at."""

from __future__ import annotations

import pytest

from tests.e2e.app import App, Story, make_dataset
from tests.e2e.sessions import Runs, write_cards, write_sessions
from tests.model.tiny import make_card


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    root = tmp_path_factory.mktemp("e2e")
    make_dataset(root / "bids")
    make_card(root / "models")
    return App(root)


@pytest.fixture(scope="session")
def story(app: App) -> Story:
    terminated = app.terminate_at("sub-01: affine registration done")
    files = app.outputs()
    return Story(terminated, files, app.run())


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Sessions of several modalities, and cards of all kinds; nothing is computed yet."""
    root = tmp_path_factory.mktemp("sessions")
    write_sessions(root / "bids")
    write_cards(root / "models")
    return Runs(App(root))

"""A tiny untrained network."""

from __future__ import annotations

import pytest

from bidsapp_brainage.model.cards import ModelCard
from tests.model.tiny import make_card


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return make_card(tmp_path_factory.mktemp("models"))

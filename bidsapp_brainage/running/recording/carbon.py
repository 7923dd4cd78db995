"""Power and carbon emissions of a run, estimated by CodeCarbon (``--track-carbon``)."""

from __future__ import annotations

from typing import Any

from bidsapp_brainage.errors import MissingExecutableError


class CarbonTracker:
    """CodeCarbon on this machine, without network and without files of its own.

    Parameters
    ----------
    country_code : str
        ISO 3166 alpha-3, whose mix of power is assumed.

    Raises
    ------
    MissingExecutableError
        CodeCarbon is not installed.
    """

    def __init__(self, country_code: str) -> None:
        self._country = country_code
        self._tracker = offline_tracker()(
            country_iso_code=country_code,
            save_to_file=False,
            log_level="error",
            allow_multiple_runs=True,
        )
        self._tracker.start()

    def finish(self) -> dict[str, Any]:
        """Stop, and tell what it came to: kWh and kg of CO2 equivalents.

        Empty where CodeCarbon, which keeps its errors to itself, found nothing.
        """
        emitted = self._tracker.stop()
        found = getattr(self._tracker, "final_emissions_data", None)
        if emitted is None or found is None:
            return {}
        return {
            "CO2Kg": float(f"{emitted:.3g}"),
            "EnergyKWh": float(f"{found.energy_consumed:.3g}"),
            "CountryCode": self._country,
            "Software": f"codecarbon {found.codecarbon_version}",
        }


def offline_tracker() -> Any:
    """CodeCarbon's tracker that asks nobody where it is.

    Raises
    ------
    MissingExecutableError
        CodeCarbon is not installed.
    """
    try:
        from codecarbon import OfflineEmissionsTracker
    except ImportError as error:
        raise MissingExecutableError(
            "`track_carbon` needs CodeCarbon: pip install 'bidsapp-brainage[carbon]'."
        ) from error
    return OfflineEmissionsTracker

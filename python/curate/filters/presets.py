"""The presets there are, by name."""

from curate.config import suggest
from curate.filters import gopher
from curate.filters.rules import Preset

PRESETS = {found.name: found for found in (gopher.DCLM,)}


def preset(name: str) -> Preset:
    """The preset of that name; ValueError with the nearest known one where there is none."""
    if name not in PRESETS:
        raise ValueError(f'no preset is named "{name}"{suggest(name, list(PRESETS))}')
    return PRESETS[name]

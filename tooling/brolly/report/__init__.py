"""One findings model, many faces."""

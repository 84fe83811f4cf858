"""Facts: providers, models, prices and limits, from `catalog.yaml` and the user's own rows."""

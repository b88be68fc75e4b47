"""Brolly compiles bundles of Helm charts into umbrella charts and Flux bundles, checks and publishes them."""

__version__ = "0.1.0"

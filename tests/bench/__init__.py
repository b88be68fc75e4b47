"""The benchmark: Brolly and Helm's engine on the same work, in one run. `python -m bench` in tests/ starts it."""

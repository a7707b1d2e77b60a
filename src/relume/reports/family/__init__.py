"""The family itself: as tables, as curves, and where the frameworks deviate."""

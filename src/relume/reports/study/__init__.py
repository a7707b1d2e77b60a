"""Findings of studies, and what is made of them."""

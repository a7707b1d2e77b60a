"""Artifacts and definitions → terminal, JSON, Markdown, pictures. Formats only; measures nothing."""

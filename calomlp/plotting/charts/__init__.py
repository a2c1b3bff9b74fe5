"""Figures: each kind is a function that makes a chart, or raises ``NothingToDraw``."""

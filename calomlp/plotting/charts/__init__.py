"""What there is to be drawn: each kind is a function that makes a chart, or raises ``NothingToDraw``."""

"""ROOT files in and out, feature expressions, splits."""

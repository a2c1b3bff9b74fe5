"""Response, resolution, fits, and the report that carries them."""

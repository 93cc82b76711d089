"""Floor 1: the stub resolver; later the zone and its server."""

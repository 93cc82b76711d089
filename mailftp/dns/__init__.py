"""Floor 1: the stub resolver; zones and what they answer."""

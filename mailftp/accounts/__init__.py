"""Floor 2: who: portal, realm, checkers, SASL, hashes, the login guard."""

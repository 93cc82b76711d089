"""HTTP: what programs ask of a mail server's web, JMAP, and the root that they and the pages hang on."""

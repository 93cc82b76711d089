"""HTTP: what programs ask of a mail server's web, and the root that JMAP and the pages hang on."""
